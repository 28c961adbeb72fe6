// Node's clients: memjs, over the binary protocol, and memcached, over text. node.js HOST:PORT
const assert = require("assert");
const memjs = require("memjs");
const Memcached = require("memcached");
const { promisify } = require("util");
const address = process.argv[2];

async function useMemjs() {
    const client = memjs.Client.create(address, { timeout: 5 });
    for (const value of [Buffer.from([0, 13, 10, 128]), Buffer.alloc(500000, "v"), Buffer.from("")]) {
        assert(await client.set("k", value, { expires: 300 }));
        assert((await client.get("k")).value.equals(value));
    }
    assert.strictEqual((await client.get("none")).value, null);
    assert(await client.add("n", "1", {}));
    assert(!(await client.add("n", "2", {})));
    assert(await client.replace("n", "5", {}));
    assert(!(await client.replace("none", "5", {})));
    assert.strictEqual((await client.increment("c", 1, { initial: 7 })).value, 7);
    assert.strictEqual((await client.increment("c", 5, {})).value, 12);
    assert.strictEqual((await client.decrement("c", 20, {})).value, 0);
    assert(await client.append("n", "6"));
    assert(await client.prepend("n", "4")); // which memjs 1.3.2 sends as append, whatever the server
    assert(["564", "456"].includes((await client.get("n")).value.toString()));
    assert(await client.touch("n", 100));
    assert(await client.delete("n"));
    assert(!(await client.delete("n")));
    await Promise.all([...Array(500).keys()].map((i) => client.set("m" + i, String(i), {})));
    const all = await Promise.all([...Array(500).keys()].map((i) => client.get("m" + i)));
    assert(all.every((found, i) => found.value.toString() === String(i)));
    await client.flush();
    assert.strictEqual((await client.get("m1")).value, null);
    client.close();
}

async function useMemcached() {
    const client = new Memcached(address);
    const call = (name, ...words) => promisify(client[name].bind(client))(...words);
    for (const value of ["text", 5, { a: [1, null] }, "v".repeat(500000)]) {
        assert(await call("set", "k", value, 300));
        assert.deepStrictEqual(await call("get", "k"), value);
    }
    assert.strictEqual(await call("get", "none"), undefined);
    assert(await call("add", "n", 1, 300));
    await assert.rejects(call("add", "n", 1, 300));
    assert.strictEqual(await call("incr", "n", 9), 10);
    assert.strictEqual(await call("decr", "n", 3), 7);
    const { cas } = await call("gets", "n");
    assert(await call("cas", "n", 8, cas, 300));
    assert(!(await call("cas", "n", 9, cas, 300)));
    assert(await call("touch", "n", 100));
    assert(await call("append", "n", "1"));
    for (let i = 0; i < 50; i++) {
        await call("set", "m" + i, i, 300);
    }
    const found = await call("getMulti", [...Array(60).keys()].map((i) => "m" + i));
    assert.strictEqual(Object.keys(found).length, 50);
    assert(await call("del", "n"));
    const [version] = await call("version"); // throws unless it is three numbers and nothing behind
    assert.deepStrictEqual([version.major, version.minor, version.bugfix], ["1", "6", "18"]);
    const [stats] = await call("stats");
    assert(stats.curr_items >= 50);
    await call("flush");
    assert.strictEqual(await call("get", "m1"), undefined);
    client.end();
}

useMemjs().then(useMemcached).then(() => console.log("2 clients passed"), (error) => {
    console.error(error);
    process.exit(1);
});
