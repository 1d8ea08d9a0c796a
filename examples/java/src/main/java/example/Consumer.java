package example;

import genflow.v1.GenerationEvent;
import genflow.v1.Output;
import java.time.Duration;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.StringDeserializer;

/**
 * Prints each event once, in order, whatever is repeated on the topic.
 *
 * <p>The state of the fold is in memory, so each start reads the topic from its beginning. In your program, store it in the
 * same transaction as what you make of the events, and commit the offsets after that.
 */
final class Consumer {
  /** What the fold keeps of a request; {@code began}: when this life of the request began. */
  record Held(int retry, int sequence, String runId, Instant occurredAt, Instant began) {}

  /** Returns what to keep after a new event; null for an event that is a repeat (docs/events.md#the-fold). */
  static Held fold(Held held, GenerationEvent event) {
    int retry = event.getRetry();
    int sequence = event.getSequence();
    Instant at = event.getOccurredAt();
    Instant began = retry == 0 && sequence == 0 ? at : null;
    if (held != null) {
      boolean newLife =
          began != null && at.isAfter(held.occurredAt) && !Objects.equals(event.getRunId(), held.runId);
      boolean later = retry > held.retry || retry == held.retry && sequence > held.sequence;
      boolean thisLife = held.began == null || !at.isBefore(held.began);
      if (!newLife && !(later && thisLife)) {
        return null;
      }
      began = began == null ? held.began : began;
    }
    return new Held(retry, sequence, event.getRunId(), at, began);
  }

  public static void main(String[] args) throws Exception {
    Map<String, Object> settings =
        Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, Env.get("KAFKA_BROKERS", "127.0.0.1:9092"),
            ConsumerConfig.GROUP_ID_CONFIG, Env.get("GROUP", "example-java"),
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest",
            ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false);
    var registry = new Registry();
    var state = new HashMap<String, Held>();
    try (var consumer = new KafkaConsumer<>(settings, new StringDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(Env.get("TOPIC_EVENTS", "gen.events")));
      while (true) {
        for (var record : consumer.poll(Duration.ofSeconds(1))) {
          GenerationEvent event = registry.decode(record.value(), GenerationEvent.getClassSchema());
          Held held = fold(state.get(event.getRequestId()), event);
          if (held != null) {
            state.put(event.getRequestId(), held);
            print(event);
          }
        }
      }
    }
  }

  private static void print(GenerationEvent event) {
    var line = new StringBuilder();
    line.append("%s %d/%d %s".formatted(event.getRequestId(), event.getRetry(), event.getSequence(), event.getType()));
    List<Output> outputs = event.getResult() == null ? List.of() : event.getResult().getOutputs();
    outputs.forEach(output -> line.append(' ').append(output.getUri()));
    System.out.println(line);
  }
}
