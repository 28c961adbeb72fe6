# Memcached::libmemcached: Perl on libmemcached, over text and over the binary protocol.
# libmemcached.pl HOST PORT
use strict;
use warnings;
use Memcached::libmemcached qw(MEMCACHED_BEHAVIOR_BINARY_PROTOCOL
    MEMCACHED_BEHAVIOR_SUPPORT_CAS);

sub check { my ($holds, $what) = @_; $holds or die "does not hold: $what\n"; }

print "version $Memcached::libmemcached::VERSION\n";
for my $binary (0, 1) {
    my $client = Memcached::libmemcached->new;
    $client->memcached_behavior_set(MEMCACHED_BEHAVIOR_BINARY_PROTOCOL, $binary);
    $client->memcached_behavior_set(MEMCACHED_BEHAVIOR_SUPPORT_CAS, 1);
    check($client->memcached_server_add($ARGV[0], $ARGV[1]), "a server");
    check($client->memcached_set("k", "value", 300, 77), "set");
    my ($flags, $result);
    check($client->memcached_get("k", $flags, $result) eq "value", "get");
    check($flags == 77, "flags");
    check(!defined $client->memcached_get("none"), "a miss");
    check(!$client->memcached_add("k", "x"), "add twice");
    check($client->memcached_append("k", "!") && $client->memcached_prepend("k", "?"), "append");
    check($client->memcached_get("k") eq "?value!", "appended and prepended");
    check($client->memcached_replace("k", "v" x 500_000), "replace");
    check(length $client->memcached_get("k") == 500_000, "large");
    $client->memcached_set("n$binary", "5");
    my $number;
    check($client->memcached_increment("n$binary", 6, $number) && $number == 11, "increment");
    check($client->memcached_decrement("n$binary", 1, $number) && $number == 10, "decrement");
    $client->memcached_set("m$_", $_) for 0 .. 49;
    my %found;
    check($client->get_multi(map { "m$_" } 0 .. 9) || 1, "get_multi");
    check($client->memcached_mget([map { "m$_" } 0 .. 59]), "mget");
    while (defined(my $value = $client->memcached_fetch(my $key, $flags, $result))) {
        $found{$key} = $value;
    }
    check(keys %found == 50 && $found{m49} == 49, "mget found");
    check($client->memcached_delete("k") && !defined $client->memcached_get("k"), "delete");
    check($client->memcached_flush(0), "flush");
    check(!defined $client->memcached_get("m1"), "flushed");
}
