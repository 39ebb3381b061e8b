// clippy.mjs FOLDER...: fails if clippy finds anything in the packages of these folders. It is always asked about the whole
// workspace: for a selection cargo would choose other features of what several packages depend on, and compile that anew
// for each of them, and once more for the tests.
import { spawnSync } from "node:child_process";
import { pathToFileURL } from "node:url";

const folders = process.argv.slice(2).map((folder) => `path+${pathToFileURL(folder)}#`);
const { status, stdout, stderr, error } = spawnSync(
  "cargo",
  ["clippy", "--workspace", "--all-targets", "--keep-going", "--message-format=json"],
  { encoding: "utf8", maxBuffer: 1 << 30 },
);
if (error) throw error;

const messages = stdout
  .split("\n")
  .filter((line) => line.startsWith("{"))
  .map((line) => JSON.parse(line))
  .filter(({ reason }) => reason === "compiler-message");
const isOurs = ({ package_id: id }) => folders.some((folder) => id.startsWith(folder));
const isFinding = ({ message: { level } }) => level === "error" || level === "warning";
// A library is looked at twice: as it is, and with its tests.
const findings = new Set(
  messages.filter((one) => isOurs(one) && isFinding(one)).map(({ message }) => message.rendered),
);

for (const finding of findings) process.stderr.write(finding);
// Another package's errors are told by that one's lint, unless they keep ours from being looked at.
const others = messages.some((one) => !isOurs(one) && one.message.level === "error");
if (status !== 0 && findings.size === 0) process.stderr.write(others ? "another package does not compile\n" : stderr);
process.exitCode = findings.size > 0 || status !== 0 ? 1 : 0;
