import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.ObjectReader;
import com.fasterxml.jackson.databind.ObjectWriter;
import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StoreQueryParameters;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.QueryableStoreTypes;
import org.apache.kafka.streams.state.Stores;
import org.apache.kafka.streams.state.WindowStore;

/**
 * The job in Kafka Streams, at least once, one stream thread, commits each second.
 *
 * <p>"processor": a Processor with a key-value store in memory (cached, with changelog) that holds
 * the counts of its source partition; a reader sums over partitions. "dsl": groupBy segment, which
 * writes a repartition topic, then windowedBy and aggregate in the store that is the default,
 * RocksDB with a cache.
 *
 * <p>The topic is worked off "passes" times, each time by a new application in the same JVM. The
 * last pass is measured from its first record on, the JIT being warm by then; with one pass,
 * everything since the start of the JVM counts.
 */
public final class KafkaStreamsNps {
  private static final String STORE = "nps";

  @JsonIgnoreProperties(ignoreUnknown = true)
  public static final class Labels {
    public String channel;
    public String region;
  }

  @JsonIgnoreProperties(ignoreUnknown = true)
  public static final class Answer {
    public String occurred_at;
    public Labels labels;
    public double score;

    String segment() {
      return labels.channel + "/" + labels.region;
    }
  }

  private static final ObjectReader READER = new ObjectMapper().readerFor(Answer.class);
  private static final ObjectWriter WRITER = new ObjectMapper().writerFor(Answer.class);

  private static Answer read(String topic, byte[] value) {
    try {
      return value == null ? null : READER.readValue(value);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static byte[] write(String topic, Answer answer) {
    try {
      return answer == null ? null : WRITER.writeValueAsBytes(answer);
    } catch (IOException error) {
      throw new UncheckedIOException(error);
    }
  }

  private static final Serde<Answer> ANSWERS =
      Serdes.serdeFrom(KafkaStreamsNps::write, KafkaStreamsNps::read);

  private static final Serde<long[]> COUNTS =
      Serdes.serdeFrom(
          (topic, counts) -> {
            if (counts == null) {
              return null;
            }
            ByteBuffer bytes = ByteBuffer.allocate(24);
            return bytes.putLong(counts[0]).putLong(counts[1]).putLong(counts[2]).array();
          },
          (topic, bytes) -> {
            if (bytes == null) {
              return null;
            }
            ByteBuffer buffer = ByteBuffer.wrap(bytes);
            return new long[] {buffer.getLong(), buffer.getLong(), buffer.getLong()};
          });

  private static long[] with(long[] counts, double score) {
    return new long[] {
      counts[0] + (score >= 9 ? 1 : 0), counts[1] + (score < 7 ? 1 : 0), counts[2] + 1
    };
  }

  private static final OperatingSystemMXBean SYSTEM =
      (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();

  private final long events;
  private final long paneSeconds;
  private final long windowSeconds;
  private final AtomicLong seen = new AtomicLong();
  private final CountDownLatch done = new CountDownLatch(1);
  private volatile long cpuBefore;
  private volatile long timeBefore;

  private KafkaStreamsNps(long events, long paneSeconds, long windowSeconds) {
    this.events = events;
    this.paneSeconds = paneSeconds;
    this.windowSeconds = windowSeconds;
  }

  private void counted() {
    long n = seen.incrementAndGet();
    if (n == 1) {
      cpuBefore = SYSTEM.getProcessCpuTime();
      timeBefore = System.nanoTime();
    } else if (n == events) {
      done.countDown();
    }
  }

  private final class Counting implements Processor<byte[], Answer, Void, Void> {
    private KeyValueStore<String, long[]> store;

    @Override
    public void init(ProcessorContext<Void, Void> context) {
      store = context.getStateStore(STORE);
    }

    @Override
    public void process(Record<byte[], Answer> record) {
      Answer answer = record.value();
      long pane = record.timestamp() / 1000 / paneSeconds * paneSeconds;
      String key = answer.segment() + "/" + pane;
      long[] counts = store.get(key);
      store.put(key, with(counts == null ? new long[3] : counts, answer.score));
      counted();
    }
  }

  private static Consumed<byte[], Answer> consumed() {
    return Consumed.with(Serdes.ByteArray(), ANSWERS)
        .withTimestampExtractor(
            (record, partitionTime) ->
                Instant.parse(((Answer) record.value()).occurred_at).toEpochMilli());
  }

  private Topology processor(String topic) {
    StreamsBuilder builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.inMemoryKeyValueStore(STORE), Serdes.String(), COUNTS)
            .withCachingEnabled());
    builder.stream(topic, consumed()).process(Counting::new, STORE);
    return builder.build();
  }

  private Topology dsl(String topic) {
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(topic, consumed())
        .groupBy((key, answer) -> answer.segment(), Grouped.with(Serdes.String(), ANSWERS))
        .windowedBy(
            // Partitions are read one after the other in parts, so answers come out of order.
            TimeWindows.ofSizeAndGrace(
                Duration.ofSeconds(paneSeconds), Duration.ofSeconds(windowSeconds)))
        .aggregate(
            () -> new long[3],
            (segment, answer, counts) -> {
              counted();
              return with(counts, answer.score);
            },
            Materialized.<String, long[], WindowStore<Bytes, byte[]>>as(STORE)
                .withKeySerde(Serdes.String())
                .withValueSerde(COUNTS));
    return builder.build();
  }

  private Map<String, long[]> results(KafkaStreams streams, boolean isDsl) {
    Map<String, long[]> totals = new TreeMap<>();
    if (isDsl) {
      var store =
          streams.store(
              StoreQueryParameters.fromNameAndType(
                  STORE, QueryableStoreTypes.<String, long[]>windowStore()));
      try (var all = store.all()) {
        all.forEachRemaining(
            entry ->
                add(totals, entry.key.key() + "/" + entry.key.window().start() / 1000, entry.value));
      }
    } else {
      var store =
          streams.store(
              StoreQueryParameters.fromNameAndType(
                  STORE, QueryableStoreTypes.<String, long[]>keyValueStore()));
      try (var all = store.all()) {
        all.forEachRemaining(entry -> add(totals, entry.key, entry.value));
      }
    }
    return totals;
  }

  private static void add(Map<String, long[]> totals, String key, long[] more) {
    long[] sum = totals.computeIfAbsent(key, k -> new long[3]);
    for (int i = 0; i < 3; i++) {
      sum[i] += more[i];
    }
  }

  private static String json(Map<String, long[]> counts) {
    StringBuilder text = new StringBuilder("{");
    counts.forEach(
        (key, c) ->
            text.append(text.length() > 1 ? "," : "")
                .append(String.format("\"%s\":[%d,%d,%d]", key, c[0], c[1], c[2])));
    return text.append("}").toString();
  }

  private static double peakMib() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmHWM:")) {
        return Long.parseLong(line.replaceAll("\\D", "")) / 1024.0;
      }
    }
    return 0;
  }

  private String run(Map<String, String> options, String appId, boolean isCold) throws Exception {
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, appId);
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, options.get("bootstrap"));
    settings.put(StreamsConfig.STATE_DIR_CONFIG, options.get("folder"));
    settings.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 1000);
    settings.put(StreamsConfig.REPLICATION_FACTOR_CONFIG, 1);
    settings.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    boolean isDsl = options.get("job").equals("dsl");
    Topology topology = isDsl ? dsl(options.get("topic")) : processor(options.get("topic"));
    try (KafkaStreams streams = new KafkaStreams(topology, settings)) {
      streams.setUncaughtExceptionHandler(
          error -> {
            error.printStackTrace();
            Runtime.getRuntime().halt(1);
            return null;
          });
      streams.start();
      if (!done.await(140, TimeUnit.SECONDS)) {
        throw new IllegalStateException("only " + seen.get() + " records after 140 s");
      }
      long cpu = SYSTEM.getProcessCpuTime() - (isCold ? 0 : cpuBefore);
      double seconds =
          isCold
              ? ManagementFactory.getRuntimeMXBean().getUptime() / 1e3
              : (System.nanoTime() - timeBefore) / 1e9;
      // The aggregator is called before the store is written, so the last count may be under way.
      Thread.sleep(500);
      return String.format(
          java.util.Locale.ROOT,
          "{\"events\":%d,\"cpu\":%f,\"seconds\":%f,\"peak_mib\":%f,\"counts\":%s}",
          seen.get(),
          cpu / 1e9,
          seconds,
          peakMib(),
          json(results(streams, isDsl)));
    }
  }

  public static void main(String[] arguments) throws Exception {
    Map<String, String> options = new TreeMap<>();
    for (String argument : arguments) {
      int equals = argument.indexOf('=');
      options.put(argument.substring(2, equals), argument.substring(equals + 1));
    }
    int passes = Integer.parseInt(options.get("passes"));
    String result = "";
    for (int pass = 0; pass < passes; pass++) {
      KafkaStreamsNps one =
          new KafkaStreamsNps(
              Long.parseLong(options.get("events")),
              Long.parseLong(options.get("pane-seconds")),
              Long.parseLong(options.get("window-seconds")));
      result = one.run(options, options.get("app-id") + "-" + pass, passes == 1);
    }
    System.out.println(result);
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }
}
