package io.github.ooml.client.conformance;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.HashMap;
import java.util.Map;

/** Values that steps of a case hand on to later ones. */
final class Saved {
    private final Map<String, String> values = new HashMap<>();

    /** Keeps what lies at a path, such as {@code results.0.response.decisionId}. */
    void keep(String name, String path, JsonElement response) {
        JsonElement at = response;
        for (String part : path.split("\\.")) {
            at = at.isJsonArray() ? at.getAsJsonArray().get(Integer.parseInt(part)) : at.getAsJsonObject().get(part);
        }
        values.put(name, at.getAsString());
    }

    /** The same JSON with each {@code ${name}} in a string or key replaced by the value of that name. */
    JsonElement fill(JsonElement json) {
        if (json.isJsonArray()) {
            JsonArray filled = new JsonArray();
            json.getAsJsonArray().forEach(item -> filled.add(fill(item)));
            return filled;
        }
        if (json.isJsonObject()) {
            JsonObject filled = new JsonObject();
            json.getAsJsonObject().asMap().forEach((key, value) -> filled.add(fill(key), fill(value)));
            return filled;
        }
        return json.isJsonPrimitive() && json.getAsJsonPrimitive().isString() ? new JsonPrimitive(fill(json.getAsString())) : json;
    }

    private String fill(String text) {
        String filled = text;
        for (Map.Entry<String, String> value : values.entrySet()) {
            filled = filled.replace("${" + value.getKey() + "}", value.getValue());
        }
        return filled;
    }
}
