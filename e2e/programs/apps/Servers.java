import com.sun.net.httpserver.HttpServer;
import java.io.*;
import java.net.*;
import java.net.http.*;
import java.nio.ByteBuffer;
import java.nio.channels.*;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;

/**
 * Java's own servers and clients: blocking sockets, channels with a selector, and HTTP. Each server answers with the
 * client's address as it sees it.
 *
 * Servers serve PORT (and the two after it) | Servers talk ADDRESS PORT
 */
public class Servers {
    private static final int CLIENTS = 20;

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("serve")) serve(Integer.parseInt(arguments[1]));
        else talk(arguments[1], Integer.parseInt(arguments[2]));
    }

    private static void serve(int port) throws Exception {
        ServerSocket blocking = new ServerSocket(port);
        start(() -> {
            while (true) {
                Socket client = blocking.accept();
                start(() -> {
                    try (client) {
                        client.getInputStream().read();
                        client.getOutputStream().write(line(client.getRemoteSocketAddress()).getBytes());
                    }
                    return null;
                });
            }
        });
        ServerSocketChannel channel = ServerSocketChannel.open();
        channel.bind(new InetSocketAddress(port + 1)).configureBlocking(false);
        Selector selector = Selector.open();
        channel.register(selector, SelectionKey.OP_ACCEPT);
        start(() -> {
            while (true) {
                selector.select();
                for (Iterator<SelectionKey> keys = selector.selectedKeys().iterator(); keys.hasNext(); ) {
                    SelectionKey key = keys.next();
                    keys.remove();
                    if (key.isAcceptable()) {
                        SocketChannel client = channel.accept();
                        if (client == null) continue;
                        client.configureBlocking(false);
                        client.register(selector, SelectionKey.OP_READ);
                    } else {
                        SocketChannel client = (SocketChannel) key.channel();
                        if (client.read(ByteBuffer.allocate(16)) > 0)
                            client.write(StandardCharsets.UTF_8.encode(line(client.getRemoteAddress())));
                        client.close();
                    }
                }
            }
        });
        HttpServer http = HttpServer.create(new InetSocketAddress(port + 2), 100);
        http.createContext("/", exchange -> {
            byte[] answer = line(exchange.getRemoteAddress()).getBytes();
            exchange.sendResponseHeaders(200, answer.length);
            try (OutputStream body = exchange.getResponseBody()) {
                body.write(answer);
            }
        });
        http.setExecutor(Executors.newFixedThreadPool(4));
        http.start();
        System.out.println("ready");
    }

    private static void talk(String address, int port) throws Exception {
        for (int n = 0; n < CLIENTS; n++) {
            for (int to = port; to < port + 2; to++) {
                try (Socket client = new Socket()) {
                    client.connect(new InetSocketAddress(address, to), 30_000);
                    client.setSoTimeout(30_000);
                    client.getOutputStream().write('x');
                    String seen = new BufferedReader(new InputStreamReader(client.getInputStream())).readLine();
                    expect(line(client.getLocalSocketAddress()).trim(), seen);
                }
            }
        }
        channels(new InetSocketAddress(address, port));
        channels(new InetSocketAddress(address, port + 1));

        HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        String host = address.contains(":") ? "[" + address + "]" : address;
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + host + ":" + (port + 2) + "/"))
            .timeout(Duration.ofSeconds(30)).build();
        List<CompletableFuture<HttpResponse<String>>> answers = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) answers.add(http.sendAsync(request, HttpResponse.BodyHandlers.ofString()));
        for (CompletableFuture<HttpResponse<String>> answer : answers) System.out.print("http " + answer.get().body());

        try (Socket client = new Socket()) {
            client.connect(new InetSocketAddress(address, port + 9), 30_000);
            throw new IllegalStateException("connected to a port where nobody listens");
        } catch (ConnectException refused) {
            System.out.println(refused.getMessage());
        }
        System.out.println("done");
        System.exit(0);
    }

    /** Connections that are all made at the same time, without blocking. */
    private static void channels(SocketAddress to) throws Exception {
        Selector selector = Selector.open();
        for (int n = 0; n < CLIENTS; n++) {
            SocketChannel client = SocketChannel.open();
            client.configureBlocking(false);
            // Registered before it connects.
            client.register(selector, SelectionKey.OP_CONNECT);
            if (client.connect(to)) throw new IllegalStateException("connected at once");
        }
        for (int left = CLIENTS; left > 0; ) {
            if (selector.select(30_000) == 0) throw new IllegalStateException(left + " connections do nothing");
            for (SelectionKey key : selector.selectedKeys()) {
                SocketChannel client = (SocketChannel) key.channel();
                if (key.isConnectable()) {
                    client.finishConnect();
                    client.write(ByteBuffer.wrap(new byte[] {'x'}));
                    key.interestOps(SelectionKey.OP_READ);
                } else {
                    ByteBuffer answer = ByteBuffer.allocate(100);
                    client.read(answer);
                    expect(line(client.getLocalAddress()), StandardCharsets.UTF_8.decode(answer.flip()).toString());
                    client.close();
                    left--;
                }
            }
            selector.selectedKeys().clear();
        }
    }

    private static void expect(String wanted, String seen) {
        if (!wanted.equals(seen)) throw new IllegalStateException("the server sees " + seen + ", not " + wanted);
    }

    private static String line(SocketAddress address) {
        InetSocketAddress name = (InetSocketAddress) address;
        return name.getAddress().getHostAddress() + ":" + name.getPort() + "\n";
    }

    private static void start(Callable<Void> work) {
        new Thread(() -> {
            try {
                work.call();
            } catch (Exception failure) {
                failure.printStackTrace();
                System.exit(1);
            }
        }).start();
    }
}
