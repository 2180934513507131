package io.github.ooml.client;

import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Which calls gRPC sends again by itself, and when: every call that is safe to repeat, while no server takes it. */
final class RetryPolicy {
    /** The service config, as gRPC for Java takes it: all numbers are doubles. */
    static final Map<String, ?> SERVICE_CONFIG = Map.of(
            "methodConfig",
            List.of(Map.of(
                    "name",
                    Stream.concat(
                                    methods("BanditService", "Score", "Reward", "Activate", "BatchScore", "BatchReward"),
                                    methods("PolicyService", "ListPolicies", "GetPolicy", "GetEvidence", "ForgetScope"))
                            .toList(),
                    "retryPolicy",
                    Map.of(
                            "maxAttempts", 4.0,
                            "initialBackoff", "0.05s",
                            "maxBackoff", "0.5s",
                            "backoffMultiplier", 2.0,
                            "retryableStatusCodes", List.of("UNAVAILABLE")))));

    private RetryPolicy() {}

    private static Stream<Map<String, String>> methods(String service, String... methods) {
        return Stream.of(methods).map(method -> Map.of("service", "ooml.bandit.v1." + service, "method", method));
    }
}
