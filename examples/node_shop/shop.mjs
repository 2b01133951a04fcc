// A shop in Node: checks out, tracks the payment session through Flower's HTTP API, takes
// webhooks, and places each order once. No framework, and a database of its own.
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { DatabaseSync } from "node:sqlite";
import { Webhook, WebhookVerificationError } from "standardwebhooks";

const {
  SHOP_PORT = "8080",
  SHOP_DATABASE = "shop.sqlite3",
  KLARNA_BASE_URL = "https://api.klarna.com",
  KLARNA_USERNAME,
  KLARNA_PASSWORD,
  FLOWER_URL = "http://127.0.0.1:5555",
  FLOWER_BASIC_AUTH,
  WEBHOOK_SECRET,
} = process.env;
const TELL_AGAIN_MS = Number(process.env.TELL_AGAIN_SECONDS ?? 30) * 1000;

const CART = {
  purchase_country: "SE",
  purchase_currency: "SEK",
  order_amount: 10000,
  order_lines: [{ name: "Hat", quantity: 1, unit_price: 10000, total_amount: 10000 }],
};

// `sent` is the last task that the worker was sent for the order: "", "tracked", "confirmed".
const database = new DatabaseSync(SHOP_DATABASE, { timeout: 20_000 });
database.exec(`
  CREATE TABLE IF NOT EXISTS orders (
    reference TEXT PRIMARY KEY, session_id TEXT UNIQUE NOT NULL, state TEXT NOT NULL,
    order_id TEXT, sent TEXT NOT NULL DEFAULT ''
  );
  CREATE TABLE IF NOT EXISTS processed_events (event_id TEXT PRIMARY KEY);
`);

class TryAgainLater extends Error {}

// --- Klarna

async function klarna(path, document) {
  // A path may hold a token: it is in no message.
  try {
    return await fetch(KLARNA_BASE_URL + path, {
      method: "POST",
      headers: { Authorization: basic(`${KLARNA_USERNAME}:${KLARNA_PASSWORD}`), ...JSON_TYPE },
      body: JSON.stringify(document),
      signal: AbortSignal.timeout(10_000), // the worker waits 15 s for the webhook's answer
    });
  } catch {
    throw new TryAgainLater("Klarna did not answer");
  }
}

async function createSession(reference) {
  const payments = "/payments/v1/sessions";
  const session = await read(klarna(payments, { ...CART, merchant_reference1: reference }));
  const url = `${KLARNA_BASE_URL}${payments}/${session.session_id}`;
  return read(klarna("/hpp/v1/sessions", { payment_session_url: url }));
}

// Answers the order's new state, and Klarna's id of it where that is known.
//
// Klarna takes a token once, however often it is asked, so asking again is safe. It answers 403
// where an order was placed with the token already: by us, in a call whose answer got lost. Its id
// is then found in Klarna's Merchant Portal, by the reference. "unclear" has to be looked up there
// too, for there may be an order or none; the worker goes on warning of it.
async function placeOrder(token, reference, triedBefore) {
  const gone = triedBefore ? "unclear" : "too_late";
  if (!token) return [gone, null]; // the worker erases a token when its hour is over
  const path = `/payments/v1/authorizations/${token}/order`;
  const answer = await klarna(path, { ...CART, merchant_reference1: reference });
  if (answer.status === 404) return [gone, null];
  // Without an error object it is no word on the token, but of what stands before Klarna.
  if (answer.status === 403 && (await answer.text()).includes('"error_code"')) {
    return [triedBefore ? "placed_id_unknown" : "unclear", null];
  }
  return ["placed", (await read(answer)).order_id];
}

async function read(answering) {
  const answer = await answering;
  if (!answer.ok) throw new TryAgainLater(`answered ${answer.status}`);
  try {
    return await answer.json();
  } catch {
    throw new TryAgainLater("answered no JSON");
  }
}

// --- to the worker, by Flower

async function send(task, args, kwargs = {}) {
  const answer = await fetch(`${FLOWER_URL}/api/task/send-task/${task}`, {
    method: "POST",
    headers: { Authorization: basic(FLOWER_BASIC_AUTH), ...JSON_TYPE },
    body: JSON.stringify({ args, kwargs }),
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.ok) throw new Error(`Flower answered ${answer.status}`);
}

// What was not sent to the worker yet: at once, and again as long as Flower cannot be reached.
async function tellWorker() {
  const unsent = database.prepare(`
    SELECT * FROM orders WHERE sent = '' OR (sent = 'tracked' AND order_id IS NOT NULL)
  `);
  const tell = database.prepare("UPDATE orders SET sent = ? WHERE reference = ?");
  try {
    for (const { reference, session_id, order_id, sent } of unsent.all()) {
      if (sent === "") await send("payment_sessions.track", [session_id], { reference });
      if (order_id) await send("payment_sessions.confirm_order", [session_id, order_id]);
      tell.run(order_id ? "confirmed" : "tracked", reference);
    }
  } catch (error) {
    console.log(`sent to the worker later: ${error.message}`);
  }
}

// --- from the worker

const underWay = new Map();

// The same event may come twice at a time: the second waits for what the first does.
function actOnce(event) {
  if (!underWay.has(event.id)) {
    underWay.set(event.id, act(event).finally(() => underWay.delete(event.id)));
  }
  return underWay.get(event.id);
}

async function act(event) {
  const known = database.prepare("SELECT 1 FROM processed_events WHERE event_id = ?");
  const find = database.prepare("SELECT * FROM orders WHERE session_id = ?");
  const order = find.get(event.data.session_id);
  if (!order || known.get(event.id)) return;
  if (event.type === "payment_session.authorized") {
    // Written down before the call: if this process dies in it, the next one knows.
    remember(order, "placing", null);
    const { authorization_token: token } = event.data;
    const triedBefore = order.state === "placing";
    const [state, orderId] = await placeOrder(token, order.reference, triedBefore);
    remember(order, state, orderId, event.id);
  } else if (event.type === "payment_session.order_placed") {
    remember(order, "placed", event.data.order_id, event.id);
  } else {
    remember(order, order.state, null, event.id); // release the cart, tell somebody
  }
  console.log(event.type, event.data.session_id, find.get(event.data.session_id).state);
}

// The order and the event's id in one transaction: both, or neither. What is placed stays placed.
function remember(order, state, orderId, eventId) {
  database.exec("BEGIN IMMEDIATE");
  try {
    database
      .prepare("UPDATE orders SET state = ?, order_id = ? WHERE reference = ? AND order_id IS NULL")
      .run(state, orderId, order.reference);
    if (eventId) {
      database.prepare("INSERT OR IGNORE INTO processed_events VALUES (?)").run(eventId);
    }
    database.exec("COMMIT");
  } catch (error) {
    database.exec("ROLLBACK");
    throw error;
  }
}

// --- the shop's own pages

async function checkout() {
  const reference = `order-${randomUUID()}`;
  const session = await createSession(reference);
  database
    .prepare("INSERT INTO orders (reference, session_id, state) VALUES (?, ?, 'pending')")
    .run(reference, session.session_id);
  await tellWorker();
  return [201, { reference, session_id: session.session_id, redirect_url: session.redirect_url }];
}

async function webhook(request) {
  const hook = new Webhook(WEBHOOK_SECRET);
  // The signature is over the body as it came, so it is checked before anything is parsed.
  await actOnce(hook.verify(await body(request), request.headers));
  await tellWorker();
  return [204];
}

function order(reference) {
  const found = database.prepare("SELECT * FROM orders WHERE reference = ?").get(reference);
  return found ? [200, found] : [404, { error: "no such order" }];
}

async function answer(request) {
  const page = `${request.method} ${request.url}`;
  if (page === "POST /checkout") return checkout();
  if (page === "POST /webhook") return webhook(request);
  if (page.startsWith("GET /orders/")) return order(request.url.slice("/orders/".length));
  return [404, { error: "no such page" }];
}

function fault(error) {
  if (error instanceof WebhookVerificationError) return [400, { error: "wrong signature" }];
  if (!(error instanceof TryAgainLater)) console.log(error);
  else console.log(`later: ${error.message}`);
  return [503, { error: "try again later" }]; // the worker does
}

const JSON_TYPE = { "Content-Type": "application/json" };
const LONGEST_BODY = 64 * 1024;

function basic(login) {
  return `Basic ${Buffer.from(login).toString("base64")}`;
}

async function body(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > LONGEST_BODY) throw new WebhookVerificationError("too long");
  }
  return text;
}

const server = createServer(async (request, response) => {
  const [status, document] = await answer(request).catch(fault);
  response.writeHead(status, JSON_TYPE).end(document && JSON.stringify(document));
});

const telling = setInterval(tellWorker, TELL_AGAIN_MS);
server.listen(Number(SHOP_PORT), "127.0.0.1", () => console.log("the shop is open"));

process.on("SIGTERM", () => {
  clearInterval(telling);
  server.close(() => database.close()); // answers what is under way, then ends
  server.closeIdleConnections();
});
