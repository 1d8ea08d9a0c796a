package example;

import genflow.v1.GenerationRequest;
import genflow.v1.ImageSpec;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Sends a request for one image: example.Producer ID PROMPT */
final class Producer {
  public static void main(String[] args) throws Exception {
    if (args.length != 2) {
      throw new IllegalArgumentException("usage: example.Producer ID PROMPT");
    }
    var registry = new Registry();
    String topic = Env.get("TOPIC_REQUESTS", "gen.requests");
    var image = ImageSpec.newBuilder().setPrompt(args[1]).setWidth(512).setHeight(512).build();
    var request =
        GenerationRequest.newBuilder()
            // Your own id of the work, made before the first send: if you send it again, it still runs once.
            .setRequestId(args[0])
            .setUserId("alice")
            .setSpec(image)
            .setWebhookUrl(Env.get("WEBHOOK_URL", null))
            .setMetadata(Map.of("from", "java"))
            .build();
    byte[] value = registry.encode(topic, request);
    // Since version 3.0, the producer is idempotent and waits for all replicas.
    Map<String, Object> settings =
        Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, Env.get("KAFKA_BROKERS", "127.0.0.1:9092"));
    try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new ByteArraySerializer())) {
      // The key is the request's id.
      var sent = producer.send(new ProducerRecord<>(topic, args[0], value)).get();
      System.out.printf("sent %s to %s, partition %d%n", args[0], topic, sent.partition());
    }
  }
}
