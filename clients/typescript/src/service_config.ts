import { BanditService } from "./gen/ooml/bandit/v1/bandit_pb.js";
import { PolicyService } from "./gen/ooml/bandit/v1/policy_pb.js";

const bandit = BanditService.typeName;
const policy = PolicyService.typeName;

/**
 * What is retried: everything but ScoreStream, of which a part may have been answered.
 *
 * A Score is safe to repeat by its request_id, which every one is given; a Reward by its reward_id, or because the policy counts the first alone.
 */
export const serviceConfig = {
  methodConfig: [
    {
      name: [
        { service: bandit, method: "Score" },
        { service: bandit, method: "Reward" },
        { service: bandit, method: "Activate" },
        { service: bandit, method: "BatchScore" },
        { service: bandit, method: "BatchReward" },
        { service: policy, method: "ListPolicies" },
        { service: policy, method: "GetPolicy" },
        { service: policy, method: "GetEvidence" },
        { service: policy, method: "ForgetScope" },
      ],
      retryPolicy: {
        maxAttempts: 4,
        initialBackoff: "0.05s",
        maxBackoff: "0.5s",
        backoffMultiplier: 2,
        retryableStatusCodes: ["UNAVAILABLE"],
      },
    },
  ],
};
