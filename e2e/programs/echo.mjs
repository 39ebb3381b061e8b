// The line echo of the tests (see echo.c), in Node.js. Its server is dual-stack, as Node.js makes it by default.
//
//   echo.mjs serve PORT
//   echo.mjs connect ADDRESS:PORT...
import { once } from "node:events";
import { connect, createServer } from "node:net";
import { createInterface } from "node:readline";

const ROUNDS = 2;

function serve(port) {
  const server = createServer((socket) => {
    const { remoteAddress, remotePort } = socket;
    socket.on("error", () => socket.destroy());
    createInterface({ input: socket }).on("line", (line) => socket.write(`${remoteAddress}:${remotePort} ${line}\n`));
  });
  server.listen(Number(port));
}

async function converse(target) {
  const [host, port] = target.split(":");
  const socket = connect({ host, port: Number(port) });
  await once(socket, "connect");
  const { localAddress, localPort, remoteAddress, remotePort } = socket;
  const answers = createInterface({ input: socket })[Symbol.asyncIterator]();
  let seen = "";
  for (let round = 0; round < ROUNDS; round += 1) {
    socket.write(`line ${round}\n`);
    const { value } = await answers.next();
    seen = value.split(" ")[0];
    if (value !== `${seen} line ${round}`) throw new Error(`${target} answers ${value}`);
  }
  socket.end();
  console.log(JSON.stringify({ local: `${localAddress}:${localPort}`, peer: `${remoteAddress}:${remotePort}`, seen }));
}

const [role, ...rest] = process.argv.slice(2);
if (role === "serve") serve(rest[0]);
else await Promise.all(rest.map(converse));
