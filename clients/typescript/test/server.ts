/** A gRPC server of the contract on a free port, that answers as a test tells it to. */

import { type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { Server, ServerCredentials, type ServiceDefinition } from "@grpc/grpc-js";
import type { TestContext } from "node:test";
import { BanditService, Client, type ClientOptions, PolicyService, type ServiceError } from "../src/index.js";

/** What a server does with a call, by the method's name. The messages are those of the method, which only the test knows. */
export type Answers = Record<string, (call: any, answer: (error: Partial<ServiceError> | null, message?: Message) => void) => void>;

/** The address of a server that answers by method name and lives as long as its test. */
export async function serving(test: TestContext, answers: Answers): Promise<string> {
  const server = new Server();
  const methods = [...BanditService.methods, ...PolicyService.methods].filter(({ localName }) => localName in answers);
  server.addService(Object.fromEntries(methods.map((method) => [method.localName, defined(method)])), answers);
  test.after(() => server.forceShutdown());
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => (error ? reject(error) : resolve(bound)));
  });
  return `127.0.0.1:${port}`;
}

/** A client that lives as long as its test. */
export function connected(test: TestContext, target: string, options: ClientOptions = {}): Client {
  const client = new Client(target, options);
  test.after(() => client.close());
  return client;
}

function defined(method: DescMethod): ServiceDefinition[string] {
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: method.methodKind === "bidi_streaming",
    responseStream: method.methodKind === "bidi_streaming",
    requestDeserialize: (bytes) => fromBinary(method.input, bytes),
    requestSerialize: (message) => Buffer.from(toBinary(method.input, message)),
    responseDeserialize: (bytes) => fromBinary(method.output, bytes),
    responseSerialize: (message) => Buffer.from(toBinary(method.output, message)),
  };
}
