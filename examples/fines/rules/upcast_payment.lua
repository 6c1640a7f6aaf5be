--- Payments were stored in tenths of a unit under another name, beside a running total that the
--- events give anyway.
return {
  upcast = "Payment", latest = 2,
  [1] = function(d) return { amount = d.paymentamount * 10 } end,
}
