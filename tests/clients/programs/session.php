<?php
// One page of a PHP site, for PHP's own web server: counts the visits of a session, and holds the
// session for as long as ?hold=FILE names a file that is not there. What happens when is logged.
function note($what) {
    file_put_contents(getenv("VISITS_LOG"), $what . "\n", FILE_APPEND | LOCK_EX);
}

$visit = $_GET["visit"] ?? "?";
note("asks $visit");
if (!session_start()) {
    http_response_code(500);
    exit("no session");
}
note("enters $visit");
if (isset($_GET["hold"])) {
    $deadline = microtime(true) + 20;
    while (!file_exists($_GET["hold"]) && microtime(true) < $deadline) {
        usleep(2000);
        clearstatcache();
    }
}
$_SESSION["visits"] = ($_SESSION["visits"] ?? 0) + 1;
$_SESSION["cart"] = $_SESSION["cart"] ?? ["bread" => 2, "bytes" => "\0\r\n\x80"];
if (isset($_GET["logout"])) {
    session_destroy();
    exit("out");
}
echo $_SESSION["visits"], " ", $_SESSION["cart"]["bread"], " ", bin2hex($_SESSION["cart"]["bytes"]);
note("leaves $visit");
session_write_close();
