// Drives the real centrifuge client: reads one JSON instruction from each line of standard input, writes one JSON event to each
// line of standard output. What the client asks its application for (tokens, data, state) is asked back as {ask, what, ...} and
// answered with {answer, value} or {answer, error} or {answer, unauthorized}.
import { createInterface } from "node:readline";
import { Centrifuge, UnauthorizedError } from "centrifuge";
import WebSocket from "ws";

const clients = new Map();
const questions = new Map();
let asked = 0;

function tell(event) {
  process.stdout.write(JSON.stringify(event) + "\n");
}

function ask(what, context) {
  const number = ++asked;
  tell({ ask: number, what, ...context });
  return new Promise((resolve, reject) => questions.set(number, { resolve, reject }));
}

function answer({ answer: number, value, error, unauthorized }) {
  const { resolve, reject } = questions.get(number);
  questions.delete(number);
  if (unauthorized) reject(new UnauthorizedError("unauthorized"));
  else if (error) reject(new Error(error));
  else resolve(value);
}

function forward(emitter, names, context) {
  for (const name of names) {
    emitter.on(name, (event) => tell({ ...event, event: name, ...context }));
  }
}

function newClient({ client, url, token, asks = [], origin }) {
  class Socket extends WebSocket {
    constructor(address) {
      super(address, origin ? { origin } : {});
    }
  }
  const options = { websocket: Socket, minReconnectDelay: 20, maxReconnectDelay: 200, timeout: 3000 };
  if (token) options.token = token;
  if (asks.includes("getToken")) options.getToken = () => ask("getToken", { client });
  if (asks.includes("getData")) options.getData = () => ask("getData", { client });
  const centrifuge = new Centrifuge(url, options);
  forward(centrifuge, ["connecting", "connected", "disconnected", "error"], { who: client });
  forward(centrifuge, ["subscribed", "subscribing", "unsubscribed", "publication", "join", "leave"], { who: client, server: true });
  clients.set(client, centrifuge);
  centrifuge.connect();
}

function subscribe({ client, channel, asks = [], token, since, joinLeave = false }) {
  const options = { minResubscribeDelay: 20, maxResubscribeDelay: 200, joinLeave };
  if (token) options.token = token;
  if (since) options.since = since;
  if (asks.includes("getToken")) options.getToken = () => ask("getToken", { client, channel });
  if (asks.includes("getState")) options.getState = () => ask("getState", { client, channel });
  const subscription = clients.get(client).newSubscription(channel, options);
  forward(subscription, ["subscribing", "subscribed", "unsubscribed", "publication", "join", "leave", "error"], { who: client, channel });
  subscription.subscribe();
}

async function call({ client, call: number, method, args }) {
  try {
    tell({ reply: number, result: await clients.get(client)[method](...args) });
  } catch (error) {
    tell({ reply: number, error: { code: error.code, message: error.message } });
  }
}

const operations = {
  client: newClient,
  subscribe,
  call,
  connect: ({ client }) => clients.get(client).connect(),
  disconnect: ({ client }) => clients.get(client).disconnect(),
  unsubscribe: ({ client, channel }) => clients.get(client).getSubscription(channel).unsubscribe(),
};

createInterface({ input: process.stdin }).on("line", (line) => {
  const message = JSON.parse(line);
  if ("answer" in message) answer(message);
  else operations[message.op](message);
}).on("close", () => process.exit(0));
