package io.github.ooml.client.conformance;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import io.github.ooml.bandit.v1.ListPoliciesRequest;
import io.github.ooml.client.Client;
import io.github.ooml.client.ClientBuilder;
import io.grpc.StatusRuntimeException;
import java.io.PrintStream;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;

/** Executes the cases of a run file and prints what each step got, a line of JSON each. What is right is judged by whoever started it. */
final class Main {
    private final JsonObject targets;
    private final PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Main(JsonObject targets) {
        this.targets = targets;
    }

    /** Takes the run file's path. Exits with 0 when every step could be executed, whatever came of it, otherwise with 1. */
    public static void main(String[] arguments) throws Exception {
        JsonObject run;
        try (Reader file = Files.newBufferedReader(Path.of(arguments[0]))) {
            run = JsonParser.parseReader(file).getAsJsonObject();
        }
        Main main = new Main(run.getAsJsonObject("targets"));
        main.warmUp();
        boolean executed = true;
        for (JsonElement aCase : run.getAsJsonArray("cases")) {
            executed &= main.execute(aCase.getAsJsonObject());
        }
        System.exit(executed ? 0 : 1);
    }

    /** A Java program's first call loads so many classes that it outlasts a deadline of half a second; that one is no case. */
    private void warmUp() {
        if (targets.has("plain")) {
            try (Client client = client(targets.getAsJsonObject("plain"), new JsonObject())) {
                client.policies().withDeadlineAfter(Duration.ofSeconds(30)).listPolicies(ListPoliciesRequest.getDefaultInstance());
            } catch (StatusRuntimeException anAnswerToo) {
                return;
            }
        }
    }

    private boolean execute(JsonObject aCase) {
        boolean executed = true;
        JsonObject target = targets.getAsJsonObject(aCase.get("target").getAsString());
        JsonObject options = aCase.has("client") ? aCase.getAsJsonObject("client") : new JsonObject();
        try (Client client = client(target, options)) {
            Steps steps = new Steps(client);
            for (int index = 0; index < aCase.getAsJsonArray("steps").size(); index++) {
                JsonObject outcome = steps.execute(aCase.getAsJsonArray("steps").get(index).getAsJsonObject());
                print(aCase, index, outcome);
                executed &= !outcome.get("code").getAsString().equals(Outcome.NOT_EXECUTED);
            }
        } catch (IllegalStateException | IllegalArgumentException refused) {
            for (int index = 0; index < aCase.getAsJsonArray("steps").size(); index++) {
                print(aCase, index, Outcome.of(Outcome.REFUSED_HERE, refused.getMessage()));
            }
        }
        return executed;
    }

    private void print(JsonObject aCase, int index, JsonObject outcome) {
        JsonObject line = new JsonObject();
        line.add("case", aCase.get("name"));
        line.addProperty("step", index);
        outcome.asMap().forEach(line::add);
        out.println(line);
    }

    private static Client client(JsonObject target, JsonObject options) {
        ClientBuilder client = Client.builder(target.get("address").getAsString());
        if (target.has("ca_file")) {
            client.tls(Path.of(target.get("ca_file").getAsString()));
        }
        if (target.has("cert_file")) {
            client.clientCertificate(
                    Path.of(target.get("cert_file").getAsString()), Path.of(target.get("key_file").getAsString()));
        }
        JsonElement apiKey = options.has("api_key") ? options.get("api_key") : target.get("api_key");
        if (apiKey != null && !apiKey.getAsString().isEmpty()) {
            client.apiKey(apiKey.getAsString());
        }
        if (options.has("channels")) {
            client.channels(options.get("channels").getAsInt());
        }
        if (options.has("retry")) {
            client.retry(options.get("retry").getAsBoolean());
        }
        if (options.has("keepalive_ms")) {
            client.keepAlive(milliseconds(options, "keepalive_ms", 30_000), milliseconds(options, "keepalive_timeout_ms", 10_000));
        }
        return client.build();
    }

    private static Duration milliseconds(JsonObject options, String name, long otherwise) {
        return Duration.ofMillis(options.has(name) ? options.get(name).getAsLong() : otherwise);
    }
}
