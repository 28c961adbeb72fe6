# Cache::Memcached, Perl's own client. cache_memcached.pl HOST PORT
use strict;
use warnings;
use Cache::Memcached;

sub check { my ($holds, $what) = @_; $holds or die "does not hold: $what\n"; }

print "version $Cache::Memcached::VERSION\n";
my $client = Cache::Memcached->new({
    servers => ["$ARGV[0]:$ARGV[1]"], compress_threshold => 1000, namespace => "p:" });
for my $value ("text", 5, "v" x 500_000, "\0\r\n\x80", "the same " x 5000) {
    check($client->set("k", $value), "set");
    check($client->get("k") eq $value, "get what was set");
}
check($client->set("k", { a => [1, 2], b => undef }, 300), "set a structure");
check($client->get("k")->{a}[1] == 2, "get a structure");
check(!defined $client->get("none"), "a miss");
check($client->add("n", 1), "add");
check(!$client->add("n", 1), "add twice");
check($client->incr("n", 9) == 10, "incr");
check($client->decr("n", 3) == 7, "decr");
check(!$client->incr("none"), "incr of nothing");
check($client->replace("n", 5), "replace");
check(!$client->replace("none", 5), "replace nothing");
check($client->append("n", "6") && $client->prepend("n", "4"), "append and prepend");
check($client->get("n") eq "456", "appended and prepended");
check($client->set("m$_", $_), "set many") for 0 .. 49;
my $found = $client->get_multi(map { "m$_" } 0 .. 59);
check(keys %$found == 50 && $found->{m49} == 49, "get_multi");
check($client->delete("k") && !defined $client->get("k"), "delete");
check($client->stats(["misc"])->{total}{curr_items} > 50, "stats");
check($client->flush_all, "flush_all");
check(!defined $client->get("n"), "flushed");
