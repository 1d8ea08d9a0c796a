package example;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.avro.specific.SpecificDatumReader;
import org.apache.avro.specific.SpecificDatumWriter;
import org.apache.avro.specific.SpecificRecord;
import org.apache.avro.util.ClassSecurityValidator;

/**
 * Confluent's wire format: a zero byte, the id of the schema in the registry, and the Avro datum. It is a class of its own
 * because Confluent's kafka-avro-serializer is not on Maven Central; with their repository, use that instead.
 */
final class Registry {
  static {
    // Avro makes objects only of classes that the program trusts.
    ClassSecurityValidator.setGlobal(
        ClassSecurityValidator.composite(
            ClassSecurityValidator.DEFAULT, type -> type.getPackageName().equals("genflow.v1")));
  }

  private static final ObjectMapper JSON = new ObjectMapper();
  private final HttpClient http = HttpClient.newHttpClient();
  private final String url = Env.get("SCHEMA_REGISTRY_URL", "http://127.0.0.1:8081/apis/ccompat/v7");
  private final Map<Integer, Schema> writers = new HashMap<>();

  /** Encodes a record of the topic with the schema that `genflow setup` has registered for it. */
  byte[] encode(String topic, SpecificRecord message) throws IOException, InterruptedException {
    JsonNode latest = ask("/subjects/" + topic + "-value/versions/latest");
    var bytes = new ByteArrayOutputStream();
    bytes.write(ByteBuffer.allocate(5).put((byte) 0).putInt(latest.get("id").asInt()).array());
    var encoder = EncoderFactory.get().directBinaryEncoder(bytes, null);
    Schema schema = new Schema.Parser().parse(latest.get("schema").asText());
    new SpecificDatumWriter<>(schema).write(message, encoder);
    return bytes.toByteArray();
  }

  /** Decodes a record, whichever version of the schema it was written with. */
  <T extends SpecificRecord> T decode(byte[] value, Schema reader) throws IOException, InterruptedException {
    ByteBuffer framed = ByteBuffer.wrap(value);
    if (framed.get() != 0) {
      throw new IOException("the record is not in Confluent's wire format");
    }
    int id = framed.getInt();
    if (!writers.containsKey(id)) {
      writers.put(id, new Schema.Parser().parse(ask("/schemas/ids/" + id).get("schema").asText()));
    }
    var decoder = DecoderFactory.get().binaryDecoder(value, framed.position(), framed.remaining(), null);
    return new SpecificDatumReader<T>(writers.get(id), reader).read(null, decoder);
  }

  private JsonNode ask(String path) throws IOException, InterruptedException {
    HttpRequest request = HttpRequest.newBuilder(URI.create(url + path)).build();
    HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new IOException(path + ": the registry answers " + answer.statusCode());
    }
    return JSON.readTree(answer.body());
  }
}
