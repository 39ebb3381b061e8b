// A Node.js cluster, whose workers share a listener, and its client.
//
//   cluster.mjs serve PORT none|rr       two workers; `none`: they accept themselves, `rr`: the first process does
//   cluster.mjs request ADDRESS PORT N   N requests on lasting connections, N on short ones: {"workers", "strangers"}
import cluster from "node:cluster";
import http from "node:http";

const [mode, ...rest] = process.argv.slice(2);

if (mode === "serve") {
  const [port, policy] = rest;
  if (cluster.isPrimary) {
    cluster.schedulingPolicy = policy === "none" ? cluster.SCHED_NONE : cluster.SCHED_RR;
    let listening = 0;
    cluster.on("listening", () => {
      listening += 1;
      if (listening === 2) console.log("ready");
    });
    for (let n = 0; n < 2; n += 1) cluster.fork();
    process.on("SIGTERM", () => cluster.disconnect(() => process.exit(0)));
  } else {
    process.on("SIGTERM", () => {});
    http
      .createServer(({ socket }, response) => {
        response.end(`${cluster.worker.id} ${socket.remoteAddress.replace("::ffff:", "")}:${socket.remotePort}`);
      })
      .listen({ port: Number(port) });
  }
} else {
  const [host, port, count] = rest;
  const workers = new Set();
  let strangers = 0;

  const request = (agent) =>
    new Promise((done, fail) => {
      const sent = http.get({ host, port, agent, timeout: 30_000 }, (response) => {
        const { localAddress, localPort } = response.socket;
        let text = "";
        response.setEncoding("utf8").on("data", (part) => {
          text += part;
        });
        response.on("end", () => {
          const [worker, peer] = text.split(" ");
          workers.add(worker);
          if (peer !== `${localAddress}:${localPort}`) strangers += 1;
          done();
        });
      });
      sent.on("error", fail);
      sent.on("timeout", () => sent.destroy(new Error("no answer")));
    });

  for (const keepAlive of [true, false]) {
    const agent = new http.Agent({ keepAlive, maxSockets: 10 });
    await Promise.all(Array.from({ length: Number(count) }, () => request(agent)));
    agent.destroy();
  }
  console.log(JSON.stringify({ workers: workers.size, strangers }));
}
