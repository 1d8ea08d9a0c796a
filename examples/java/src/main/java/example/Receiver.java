package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.standardwebhooks.Webhook;
import com.standardwebhooks.exceptions.WebhookVerificationException;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/** Receives webhooks and prints each event once: set WEBHOOK_SECRET=whsec_… */
final class Receiver {
  private static final ObjectMapper JSON = new ObjectMapper();
  /**
   * What {@code genflow webhook-secret alice} prints: while the operator replaces the signing secret, alice has two. A webhook
   * that matches one of them is genuine. (A line with whpk_ is a public key, for receivers that verify v1a.)
   */
  private static final List<Webhook> SECRETS =
      Stream.of(Env.get("WEBHOOK_SECRET", "").split("\\s+"))
          .filter(word -> word.startsWith("whsec_"))
          .map(Webhook::new)
          .toList();
  /** In your program, a table with a unique column: a webhook is delivered at least once. */
  private static final Set<String> SEEN = ConcurrentHashMap.newKeySet();

  public static void main(String[] args) throws IOException {
    var address = new InetSocketAddress(InetAddress.getLoopbackAddress(), Integer.parseInt(Env.get("PORT", "8000")));
    var server = HttpServer.create(address, 0);
    server.createContext("/", Receiver::receive);
    server.start();
    System.out.printf("listening on http://127.0.0.1:%d%n", server.getAddress().getPort());
  }

  private static void receive(HttpExchange exchange) throws IOException {
    // The raw body, as it was signed.
    String body = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
    if (!isGenuine(body, exchange.getRequestHeaders())) {
      exchange.sendResponseHeaders(400, -1);
      return;
    }
    if (SEEN.add(exchange.getRequestHeaders().getFirst("webhook-id"))) {
      JsonNode event = JSON.readTree(body).get("data");
      // Webhooks may overtake each other: order them by retry, then sequence.
      System.out.printf(
          "%s %d/%d %s%n",
          event.get("request_id").asText(),
          event.get("retry").asInt(),
          event.get("sequence").asInt(),
          event.get("type").asText());
    }
    exchange.sendResponseHeaders(204, -1);
  }

  private static boolean isGenuine(String body, Map<String, List<String>> headers) {
    var lower = new TreeMap<String, List<String>>(String.CASE_INSENSITIVE_ORDER);
    lower.putAll(headers);
    for (Webhook secret : SECRETS) {
      try {
        secret.verify(body, lower); // also refuses one that is more than five minutes old
        return true;
      } catch (WebhookVerificationException mismatch) {
        continue;
      }
    }
    return false;
  }
}
