const IRC = require("irc-framework");

const [port, wire, nick] = process.argv.slice(-3);
const options = { host: "127.0.0.1", port: Number(port), nick, username: "x", gecos: "x" };
if (wire === "tls") Object.assign(options, { tls: true, rejectUnauthorized: false });
if (wire === "ws") {
  globalThis.WebSocket = require("ws");
  options.transport = require("irc-framework/src/transports/websocket");
}
const client = new IRC.Client();
client.on("registered", () => client.join("#lobby"));
client.on("userlist", () => console.log("in the room"));
// It asks for its own words, too.
client.on("privmsg", (event) => event.nick === client.user.nick || console.log(event.message));
client.connect(options);
require("readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => client.say("#lobby", line));
