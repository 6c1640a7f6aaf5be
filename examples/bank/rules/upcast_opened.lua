--- Accounts that were opened before there were overdrafts have none, and an owner was only a name.
return {
  upcast = "AccountOpened", latest = 2,
  [1] = { move = { owner = "owner.name" }, default = { overdraft = 0 } },
}
