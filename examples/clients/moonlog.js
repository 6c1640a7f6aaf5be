// A client of the moonlog daemon in one file, for Node 18 and later; nothing to install.
//
//     const { Client } = require("./moonlog.js");
//     const log = await Client.connect("moonlog-data/moonlog.sock"); // or (7070, "127.0.0.1")
//     await log.append("account-ada", { type: "Deposited", data: { amount: 5 } });
//     for await (const event of log.read({ stream: "account-ada" })) console.log(event.data);
//
// Integers beyond 2^53 come as BigInt; 1.0 is sent as 1. An error has a code, also "UNREACHABLE".
"use strict";
const net = require("net");

// ---- MessagePack ----------------------------------------------------------------------------

function head(size, short, shortMax, leads) { // leads: for sizes of 1, 2, 4 bytes
  if (size <= shortMax) return Buffer.from([short | size]);
  const n = leads[0] && size < 256 ? 0 : size < 65536 ? 1 : 2;
  const bytes = Buffer.alloc(1 + (1 << n), leads[n]);
  bytes.writeUIntBE(size, 1, 1 << n);
  return bytes;
}

function pack(value, out) {
  if (value === null || value === undefined) out.push(Buffer.from([0xc0]));
  else if (typeof value === "boolean") out.push(Buffer.from([value ? 0xc3 : 0xc2]));
  else if (typeof value === "number" || typeof value === "bigint") {
    const whole = typeof value === "bigint" || Number.isSafeInteger(value);
    const bytes = Buffer.alloc(9, whole ? 0xd3 : 0xcb);
    if (whole) bytes.writeBigInt64BE(BigInt(value), 1);
    else bytes.writeDoubleBE(value, 1);
    out.push(whole && value >= -32 && value < 128 ? bytes.subarray(8) : bytes);
  } else if (typeof value === "string") {
    const bytes = Buffer.from(value);
    out.push(head(bytes.length, 0xa0, 31, [0xd9, 0xda, 0xdb]), bytes);
  } else if (value instanceof Uint8Array) {
    out.push(head(value.length, 0, -1, [0xc4, 0xc5, 0xc6]), value);
  } else if (Array.isArray(value)) {
    out.push(head(value.length, 0x90, 15, [0, 0xdc, 0xdd]));
    for (const item of value) pack(item, out);
  } else {
    const pairs = Object.entries(value).filter(([, item]) => item !== undefined);
    out.push(head(pairs.length, 0x80, 15, [0, 0xde, 0xdf]));
    for (const [key, item] of pairs) pack(item, pack(key, out));
  }
  return out;
}

class More extends Error {} // the message is not whole
class Reader {
  constructor(bytes) { this.bytes = bytes; this.at = 0; }
  take(size) {
    if (this.at + size > this.bytes.length) throw new More();
    return this.bytes.subarray(this.at, (this.at += size));
  }
  size(width) { return this.take(width).readUIntBE(0, width); }
  list(length, item = () => this.value()) { return Array.from({ length }, item); }
  map(size) { return Object.fromEntries(this.list(size, () => [this.value(), this.value()])); }
  ext(size) { return { ext: this.take(1).readInt8(), bytes: Buffer.from(this.take(size)) }; }
  wide(value) { return Number.isSafeInteger(Number(value)) ? Number(value) : value; }
  value() {
    const lead = this.size(1), low = lead & 3;
    if (lead < 0x80 || lead >= 0xe0) return (lead << 24) >> 24;
    if (lead < 0x90) return this.map(lead & 15);
    if (lead < 0xa0) return this.list(lead & 15);
    if (lead < 0xc0) return this.take(lead & 31).toString();
    if (lead < 0xc4 && lead !== 0xc1) return [null, null, false, true][low];
    if (lead >= 0xc4 && lead <= 0xc6) return Buffer.from(this.take(this.size(1 << low)));
    if (lead >= 0xc7 && lead <= 0xc9) return this.ext(this.size(1 << (lead - 0xc7)));
    if (lead === 0xca) return this.take(4).readFloatBE();
    if (lead === 0xcb) return this.take(8).readDoubleBE();
    if (lead >= 0xcc && lead <= 0xce) return this.size(1 << low);
    if (lead === 0xcf) return this.wide(this.take(8).readBigUInt64BE());
    if (lead >= 0xd0 && lead <= 0xd2) return this.take(1 << low).readIntBE(0, 1 << low);
    if (lead === 0xd3) return this.wide(this.take(8).readBigInt64BE());
    if (lead >= 0xd4 && lead <= 0xd8) return this.ext(1 << (lead - 0xd4));
    if (lead >= 0xd9 && lead <= 0xdb) return this.take(this.size(1 << (lead - 0xd9))).toString();
    if (lead >= 0xdc) return this[lead < 0xde ? "list" : "map"](this.size(lead & 1 ? 4 : 2));
    throw new Error("byte c1 is no MessagePack");
  }
}

// ---- the client -------------------------------------------------------------------------------

const FIELDS = "position revision time stream type schema id tags data meta occurred".split(" ");

function eventOf(row) {
  const event = Object.fromEntries(FIELDS.map((name, n) => [name, row[n]]));
  event.id = row[6].toString("hex").replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  return event;
}

class Client { // connect(path) or (port, host); options: token, client (a name)
  static async connect(address, host, options = {}) {
    const client = new Client(host ? net.connect(address, host) : net.connect(address));
    await client.call("hello", { client: "node", ...options, events: "array" });
    return client;
  }

  constructor(socket) {
    const held = Buffer.alloc(0);
    Object.assign(this, { socket, held, lastId: 0, waiting: new Map(), queues: new Map() });
    socket.on("data", (bytes) => this.take(bytes));
    socket.on("error", (error) => this.end(error.message));
    socket.on("close", () => this.end("the daemon went away, or this end was closed"));
  }

  close() { this.socket.end(); }
  end(why) {
    this.gone ??= Object.assign(new Error(`UNREACHABLE: ${why}`), { code: "UNREACHABLE" });
    for (const { reject } of this.waiting.values()) reject(this.gone);
    for (const queue of this.queues.values()) queue.wake();
  }

  take(bytes) {
    const reader = new Reader(Buffer.concat([this.held, bytes]));
    let done = 0;
    try {
      for (; ; done = reader.at) this.handle(reader.value());
    } catch (error) {
      if (!(error instanceof More)) this.socket.destroy(error);
    }
    this.held = reader.bytes.subarray(done);
  }

  handle([kind, id, no, result]) {
    // pushed: [2, method, [params]]
    if (kind === 2) return this.queues.get(no[0].subscription)?.put({ method: id, ...no[0] });
    const call = this.waiting.get(id);
    this.waiting.delete(id);
    if (no) return call.reject(Object.assign(new Error(no[1]), { code: no[1].split(":")[0] }));
    if (call.queue) this.queues.set(result.subscription, call.queue); // pushes may be next
    call.resolve(result);
  }

  send(message) { this.socket.write(Buffer.concat(pack(message, []))); }

  // Any method; calls may overlap. Rejects with an Error whose code is "NOT_FOUND", …
  call(method, params = {}, queue = undefined) {
    if (this.gone) return Promise.reject(this.gone);
    const id = ++this.lastId;
    this.send([0, id, method, [params]]);
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject, queue }));
  }

  append(stream, events, options = {}) {
    return this.call("append", { stream, events: [].concat(events), ...options });
  }

  // The events of { stream | category | query, from, backward, system } that are there now.
  async *read({ limit = Infinity, ...params } = {}) {
    for (let top; limit > 0; ) {
      Object.assign(params, { limit: Math.min(limit, 1000), max_bytes: 256 << 10 });
      const page = await this.call("read", params);
      top ??= page.head;
      for (const row of page.events) if (row[0] <= top) yield eventOf(row);
      if (page.end || page.events.some((row) => row[0] > top)) return;
      [params.from, limit] = [page.next, limit - page.events.length];
    }
  }

  // { method, … } as they are pushed; the daemon is told when the loop is left.
  async *pushed(enter, params) {
    const items = [];
    const queue = { wake() {}, put(item) { items.push(item), this.wake(); } };
    const { subscription } = await this.call(enter, params, queue);
    try {
      for (; ; await new Promise((resolve) => (queue.wake = resolve))) {
        while (items.length > 0) yield items.shift();
        if (this.gone) throw this.gone;
      }
    } finally {
      this.queues.delete(subscription);
      await this.call("un" + enter, { subscription }).catch(() => {}); // gone: known there already
    }
  }

  // Events for ever, those there are and then new ones; untilEnd: until it has caught up. At
  // most `credit` are on their way at once. Begins with the first next().
  async *subscribe({ untilEnd, credit = 256, after = "start", ...selection } = {}) {
    let used = 0;
    for await (const told of this.pushed("subscribe", { after, credit, ...selection })) {
      if (told.method === "failed") throw new Error(told.error);
      if (told.method === "caught_up" && untilEnd) return;
      for (const row of told.events ?? []) {
        yield eventOf(row);
        if (++used * 2 < credit) continue;
        this.send([2, "credit", [{ subscription: told.subscription, events: used }]]);
        used = 0;
      }
    }
  }

  // Tells whoever listens now; gives { listeners }.
  signal(subject, data, reply) { return this.call("signal", { subject, data, reply }); }

  // Yields { method: "signal", subject, data, reply? } for subjects that match (* is one token,
  // > the rest) and { method: "gap", missed }. Begins with the first next().
  listen(pattern, options = {}) { return this.pushed("listen", { subject: pattern, ...options }); }
}

module.exports = { Client, pack, Reader };
