<?php
// PHP's memcached extension. memcached.php HOST PORT text|binary
function check($holds, $what) {
    if (!$holds) {
        fwrite(STDERR, "does not hold: $what\n");
        exit(1);
    }
}

echo "version ", phpversion("memcached"), "\n";
$client = new Memcached();
$client->setOption(Memcached::OPT_BINARY_PROTOCOL, $argv[3] === "binary");
$client->setOption(Memcached::OPT_COMPRESSION, true);
$client->addServer($argv[1], (int)$argv[2]);
foreach (["text", 5, 1.5, true, [1, ["a" => null]], "\0\r\n\x80", str_repeat("v", 500000)] as $value) {
    check($client->set("k", $value, 300), "set");
    check($client->get("k") === $value, "get what was set");
}
check($client->get("none") === false && $client->getResultCode() === Memcached::RES_NOTFOUND, "a miss");
check($client->add("n", 1) && !$client->add("n", 1), "add");
$exists = $argv[3] === "binary" ? Memcached::RES_DATA_EXISTS : Memcached::RES_NOTSTORED;
check($client->getResultCode() === $exists, "add twice says why");
check($client->increment("n", 9) === 10 && $client->decrement("n", 20) === 0, "counting");
if ($argv[3] === "binary") {
    check($client->increment("new", 1, 7, 100) === 7, "increment with a default");
}
check($client->replace("n", 5) && !$client->replace("none", 5), "replace");
$client->setOption(Memcached::OPT_COMPRESSION, false);
check($client->set("s", "b") && $client->append("s", "c") && $client->prepend("s", "a"), "append");
check($client->get("s") === "abc", "appended and prepended");
$extended = $client->get("s", null, Memcached::GET_EXTENDED);
check($client->cas($extended["cas"], "s", "new"), "cas");
check(!$client->cas($extended["cas"], "s", "old"), "cas of an older one");
check($client->getResultCode() === Memcached::RES_DATA_EXISTS, "and says why");
$many = [];
for ($i = 0; $i < 50; $i++) {
    $many["m$i"] = $i;
}
check($client->setMulti($many, 300), "setMulti");
check($client->getMulti(array_merge(array_keys($many), ["none"])) === $many, "getMulti");
check($client->touch("s", 100) && !$client->touch("none", 100), "touch");
check($client->delete("s") && $client->get("s") === false, "delete");
check($client->deleteMulti(["m0", "m1"]) == ["m0" => true, "m1" => true], "deleteMulti");
$server = $argv[1] . ":" . $argv[2];
check($client->getStats()[$server]["curr_items"] >= 48, "stats");
check(str_starts_with($client->getVersion()[$server], "1.6"), "version");
check($client->flush() && $client->get("m5") === false, "flush");
