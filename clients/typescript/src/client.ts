import type { DescMessage, DescMethodUnary, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Client as Connection, Metadata } from "@grpc/grpc-js";
import * as bandit from "./gen/ooml/bandit/v1/bandit_pb.js";
import * as policy from "./gen/ooml/bandit/v1/policy_pb.js";
import { authorization, channelCredentials, channelOptions, type ClientOptions, positive } from "./options.js";
import { identified, identifiedBatch, identifiedStream, type StreamRequests } from "./request_ids.js";
import { type Call, duplex, unary } from "./transport.js";

const { BanditService } = bandit;
const { PolicyService } = policy;

/** How one call differs from the client's others. */
export interface CallOptions {
  /** Milliseconds it may take, its retries included. */
  readonly deadlineMs?: number | undefined;
  /** What it carries besides the client's credentials. */
  readonly metadata?: Metadata | undefined;
  /** Cancels it. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Calls an ooml server, over as many connections as it is told to, from the first call on until `close`.
 *
 * Every method takes a message or the fields of one, and rejects with gRPC's `ServiceError`; `errorDetails` says why. What cannot be sent at all
 * rejects with another error.
 */
export class Client {
  // Private to the language, so that printing a client shows no key.
  readonly #connections: readonly Connection[];
  readonly #authorization: string | undefined;
  readonly #deadlineMs: number;
  #calls = 0;

  /**
   * @param target `host:port`, or any other name gRPC knows.
   * @throws when an option cannot be: a key that would travel in clear text, a file that is not there.
   */
  constructor(target: string, options: ClientOptions = {}) {
    this.#authorization = authorization(target, options);
    this.#deadlineMs = positive("deadlineMs", options.deadlineMs, 500);
    const channels = positive("channels", options.channels, 1);
    const security = channelCredentials(options.tls ?? false);
    const settings = channelOptions(target, options);
    this.#connections = Array.from({ length: channels }, () => new Connection(target, security, settings));
  }

  /** Chooses one candidate and records the decision. */
  async score(request: MessageInitShape<typeof bandit.ScoreRequestSchema>, call?: CallOptions): Promise<bandit.ScoreResponse> {
    return this.#unary(BanditService.method.score, identified(request), call);
  }

  /** Tells what came of a decision. */
  async reward(request: MessageInitShape<typeof bandit.RewardRequestSchema>, call?: CallOptions): Promise<bandit.RewardResponse> {
    return this.#unary(BanditService.method.reward, request, call);
  }

  /** Opens the reward window of a deferred decision. */
  async activate(request: MessageInitShape<typeof bandit.ActivateRequestSchema>, call?: CallOptions): Promise<bandit.ActivateResponse> {
    return this.#unary(BanditService.method.activate, request, call);
  }

  /** Scores up to 100 requests, each on its own. */
  async batchScore(
    request: MessageInitShape<typeof bandit.BatchScoreRequestSchema>,
    call?: CallOptions,
  ): Promise<bandit.BatchScoreResponse> {
    return this.#unary(BanditService.method.batchScore, identifiedBatch(request), call);
  }

  /** Takes up to 100 rewards, each on its own. */
  async batchReward(
    request: MessageInitShape<typeof bandit.BatchRewardRequestSchema>,
    call?: CallOptions,
  ): Promise<bandit.BatchRewardResponse> {
    return this.#unary(BanditService.method.batchReward, request, call);
  }

  /**
   * Scores requests as they come; replies may overtake each other. The call begins with the loop over its replies, and leaving that cancels it. It
   * has no deadline but what `call` gives, and is not retried.
   */
  scoreStream(requests: StreamRequests, call: CallOptions = {}): AsyncGenerator<bandit.ScoreStreamResponse, void, undefined> {
    return duplex(this.#connection(), BanditService.method.scoreStream, identifiedStream(requests), this.#call(call, call.deadlineMs));
  }

  /** All policies that are served, by name. */
  async listPolicies(
    request: MessageInitShape<typeof policy.ListPoliciesRequestSchema> = {},
    call?: CallOptions,
  ): Promise<policy.ListPoliciesResponse> {
    return this.#unary(PolicyService.method.listPolicies, request, call);
  }

  /** One policy that is served. */
  async getPolicy(request: MessageInitShape<typeof policy.GetPolicyRequestSchema>, call?: CallOptions): Promise<policy.GetPolicyResponse> {
    return this.#unary(PolicyService.method.getPolicy, request, call);
  }

  /** What each arm has shown one scope. */
  async getEvidence(
    request: MessageInitShape<typeof policy.GetEvidenceRequestSchema>,
    call?: CallOptions,
  ): Promise<policy.GetEvidenceResponse> {
    return this.#unary(PolicyService.method.getEvidence, request, call);
  }

  /** Erases a scope, usually a person. */
  async forgetScope(
    request: MessageInitShape<typeof policy.ForgetScopeRequestSchema>,
    call?: CallOptions,
  ): Promise<policy.ForgetScopeResponse> {
    return this.#unary(PolicyService.method.forgetScope, request, call);
  }

  /** Closes the connections once the calls on their way are over; later calls fail. */
  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  #unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    call: CallOptions = {},
  ): Promise<MessageShape<O>> {
    return unary(this.#connection(), method, request, this.#call(call, call.deadlineMs ?? this.#deadlineMs));
  }

  #connection(): Connection {
    // There is at least one, so that the index is always one of theirs.
    return this.#connections[this.#calls++ % this.#connections.length] as Connection;
  }

  #call({ metadata, signal }: CallOptions, deadlineMs: number | undefined): Call {
    const sent = metadata?.clone() ?? new Metadata();
    if (this.#authorization !== undefined) sent.set("authorization", this.#authorization);
    return { metadata: sent, options: deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs }, signal };
  }
}
