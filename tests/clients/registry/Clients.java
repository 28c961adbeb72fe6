import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.logging.Level;
import java.util.logging.Logger;
import net.rubyeye.xmemcached.XMemcachedClientBuilder;
import net.rubyeye.xmemcached.command.BinaryCommandFactory;
import net.rubyeye.xmemcached.command.TextCommandFactory;
import net.spy.memcached.AddrUtil;
import net.spy.memcached.CASResponse;
import net.spy.memcached.ConnectionFactoryBuilder;

/** Java's clients, spymemcached and xmemcached, each over text and over the binary protocol. */
public class Clients {
    static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError("does not hold: " + what);
        }
    }

    static List<String> keys(int count) {
        List<String> keys = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            keys.add("m" + i);
        }
        return keys;
    }

    static void spy(String address, ConnectionFactoryBuilder.Protocol protocol) throws Exception {
        var factory = new ConnectionFactoryBuilder().setProtocol(protocol).setOpTimeout(10000).build();
        var client = new net.spy.memcached.MemcachedClient(factory, AddrUtil.getAddresses(address));
        client.flush().get();
        byte[] large = new byte[500000];
        Arrays.fill(large, (byte) 7);
        check(client.set("k", 300, large).get(), "set");
        check(Arrays.equals((byte[]) client.get("k"), large), "get");
        check(client.get("none") == null, "a miss");
        check(client.add("n", 300, "10").get() && !client.add("n", 300, "10").get(), "add");
        check(client.incr("n", 5) == 15 && client.decr("n", 20) == 0, "counting");
        check(client.incr("new", 1, 7) == 7, "incr with a default");
        check(client.replace("k", 300, "text").get() && !client.replace("none", 0, "v").get(), "replace");
        var seen = client.gets("k");
        check(client.cas("k", seen.getCas(), "newer") == CASResponse.OK, "cas");
        check(client.cas("k", seen.getCas(), "older") == CASResponse.EXISTS, "cas of an older one");
        check(client.touch("k", 100).get(), "touch");
        for (String key : keys(50)) {
            client.set(key, 300, key);
        }
        check(client.getBulk(keys(60)).size() == 50, "getBulk");
        check(client.delete("k").get() && client.get("k") == null, "delete");
        check(client.getStats().size() == 1, "stats");
        client.flush().get();
        check(client.get("m1") == null, "flush");
        client.shutdown();
        System.out.println("spymemcached, " + protocol.toString().toLowerCase() + ": passed");
    }

    static void xmemcached(String address, boolean binary) throws Exception {
        String[] parts = address.split(":");
        var builder = new XMemcachedClientBuilder(
            List.of(new InetSocketAddress(parts[0], Integer.parseInt(parts[1]))));
        builder.setCommandFactory(binary ? new BinaryCommandFactory() : new TextCommandFactory());
        var client = builder.build();
        client.setOpTimeout(10000);
        client.flushAll();
        byte[] large = new byte[500000];
        Arrays.fill(large, (byte) 7);
        check(client.set("k", 300, large), "set");
        check(Arrays.equals((byte[]) client.get("k"), large), "get");
        check(client.get("none") == null, "a miss");
        check(client.add("s", 300, "b") && !client.add("s", 300, "c"), "add");
        check(client.append("s", "c") && client.prepend("s", "a"), "append and prepend");
        check("abc".equals(client.get("s")), "appended and prepended");
        check(client.incr("c", 5, 10) == 10 && client.incr("c", 5) == 15 && client.decr("c", 20) == 0, "counting");
        var seen = client.gets("s");
        check(client.cas("s", 300, "newer", seen.getCas()), "cas");
        check(!client.cas("s", 300, "older", seen.getCas()), "cas of an older one");
        for (String key : keys(50)) {
            client.setWithNoReply(key, 300, key);
        }
        check(client.get(keys(60)).size() == 50, "get many, behind sets without a reply");
        check(client.touch("s", 100), "touch");
        check(client.delete("s") && client.get("s") == null, "delete");
        client.flushAll();
        check(client.get("m1") == null, "flush");
        client.shutdown();
        System.out.println("xmemcached, " + (binary ? "binary" : "text") + ": passed");
    }

    public static void main(String[] arguments) throws Exception {
        System.setProperty("net.spy.log.LoggerImpl", "net.spy.memcached.compat.log.SunLogger");
        Logger.getLogger("net.spy").setLevel(Level.SEVERE);
        for (var protocol : ConnectionFactoryBuilder.Protocol.values()) {
            spy(arguments[0], protocol);
        }
        xmemcached(arguments[0], false);
        xmemcached(arguments[0], true);
        System.exit(0);
    }
}
