# Dalli, Ruby's client, which speaks the binary protocol. dalli.rb HOST PORT
require "dalli"

def check(holds, what)
  abort "does not hold: #{what}" unless holds
end

puts "version #{Dalli::VERSION}"
client = Dalli::Client.new("#{ARGV[0]}:#{ARGV[1]}", compress: true, expires_in: 300,
                           value_max_bytes: 2 * 1024 * 1024)
["text", 5, [1, { "a" => nil }], "\x00\r\n\x80".b, "v" * 500_000].each do |value|
  check client.set("k", value), "set"
  check client.get("k") == value, "get what was set"
end
check client.get("none").nil?, "a miss"
check client.add("n", "1", 100, raw: true), "add"
check !client.add("n", "2", 100, raw: true), "add twice"
check client.incr("n", 9) == 10, "incr"
check client.decr("n", 20) == 0, "decr stops at zero"
check client.incr("new", 1, 100, 7) == 7, "incr with a default"
check client.incr("none").nil?, "incr of nothing"
check client.replace("k", "replaced"), "replace"
client.replace("none", "v")
check client.get("none").nil?, "replace nothing"
check client.set("raw", "b", 100, raw: true), "raw"
client.append("raw", "c")
client.prepend("raw", "a")
check client.get("raw") == "abc", "append and prepend"
check client.cas("k") { |value| value + "!" }, "cas"
check client.get("k") == "replaced!", "cas stored"
check client.cas("none") { |_| abort "the block of a miss" }.nil?, "cas of nothing"
client.multi { 50.times { |i| client.set("m#{i}", i) } } # quiet
found = client.get_multi((0...60).map { |i| "m#{i}" })
check found == (0...50).to_h { |i| ["m#{i}", i] }, "get_multi"
check client.touch("k", 100), "touch"
check client.gat("k", 100) == "replaced!", "gat"
check client.fetch("computed") { "once" } == "once", "fetch"
check client.fetch("computed") { "twice" } == "once", "fetch again"
check client.delete("k") && client.get("k").nil?, "delete"
check client.stats.values.first["curr_items"].to_i > 50, "stats"
check client.version.values.first.start_with?("1.6"), "version"
client.flush
check client.get("m1").nil?, "flush"
