#!/usr/bin/env bash
# Fuzzes a target on stable Rust for some seconds, starting from small inputs that are right: fuzz/run.sh [target] [seconds]
# Targets: model_file (default), rows_json, rows_csv, tables, lightgbm, xgboost, catboost, tree_arrays, states, losses, frames,
# server_http, server_http2, server_rest, server_grpc, server_lambda, server_routes.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:-model_file} seconds=${2:-60}
mkdir -p "corpus/$target"
features=
case $target in
model_file) cp -n ../fixtures/models/*/*.corten "corpus/$target/" 2>/dev/null || true ;;
rows_json) printf '{"width": 1.5, "height": null, "count": 2, "city": "R\\u00f8m\\n"}\n[1, NaN, -0.0, "Oslo"]' >"corpus/$target/rows" ;;
rows_csv) printf 'width,height,count,city\n1.5,,2,"Ro""me"\n1e3,NaN,0,Oslo\r\n' >"corpus/$target/rows" ;;
lightgbm | xgboost | catboost) cp -n ../fixtures/foreign/"$target"_* "corpus/$target/" ;;
tree_arrays) printf '\001\000\001\002\000\004\000\377\001\010\377\377\000\000\000\377\000\004\377\377\000\000\000\377\000\004' >"corpus/$target/stump" ;;
states)
  # The first byte chooses the estimator.
  splits='"nodes":[{"Split":{"split":{"feature":0,"gain":1.0,"left":{"UpTo":1},"missing_left":false,"missing_seen":false,"left_sums":[65534,2],"left_value":-0.5,"right_value":0.5},"left":1,"right":2}},{"Leaf":{"value":-0.05}},{"Leaf":{"value":0.05}}]'
  printf '\000{"objective":"SquaredError","labels":null,"width":2,"features":{"bins":[{"Number":{"cuts":[0.5,1.5,2.5]}},{"Number":{"cuts":[0.5]}}],"sources":[0,1]},"trained":{"baseline":[0.5],"iterations":[[{%s,"rows":[4,2,2],"models":[]}]],"weights":[],"train_loss":[],"validation_loss":[],"more":[],"interrupted":false},"early_stopping":false,"seconds":0.1}' "$splits" >"corpus/$target/bins"
  leaf='"feature":0,"threshold":0.0,"missing_left":false,"samples":2,"weight":2.0,"impurity":0.0'
  printf '\001{"loss":"Squared","labels":null,"features":2,"max_features":2,"rate":0.1,"start":null,"stages":{"start":[0.5],"trees":[[{"nodes":[{"left":1,"right":2,"feature":0,"threshold":1.5,"missing_left":false,"samples":4,"weight":4.0,"impurity":0.25},{"left":1,"right":1,%s},{"left":2,"right":2,%s}],"values":[0.0,-0.5,0.5],"width":1}]],"losses":[0.2],"out_of_bag":[],"improvements":[]},"seconds":0.1}' "$leaf" "$leaf" >"corpus/$target/exact"
  ;;
losses)
  printf 'where(score < y, 3, 1) * (y - score) ** 2' >"corpus/$target/sides"
  printf 'exp(score) - y * score + log1p(abs(y)) / 2' >"corpus/$target/counts"
  ;;
server_http)
  features="--features server"
  printf '\000\020GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n' >"corpus/$target/old"
  head='POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  # shellcheck disable=SC2059
  printf "\\000\\100${head}Content-Length: 2\r\n\r\n{}" >"corpus/$target/length"
  # shellcheck disable=SC2059
  printf "\\000\\003${head}Transfer-Encoding: chunked\r\n\r\n1;a=\"b\"\r\n{\r\n1\r\n}\r\n0\r\nA: b\r\n\r\n" >"corpus/$target/chunks"
  ;;
server_http2)
  features="--features server"
  path='/inference.GRPCInferenceService/ModelInfer'
  described='\012\005input\022\004FP64\032\002\001\002' numbers='\000\000\000\000\000\000\360\077\000\000\000\000\000\000\360\277'
  {
    # Settings, the fields of a call, its message.
    printf '\000\020\000\000\000\004\000\000\000\000\000'
    printf '\000\000\115\001\004\000\000\000\001\203\206\104\052%s\137\020application/grpc\100\002te\010trailers' "$path"
    # shellcheck disable=SC2059
    printf "\\000\\000\\075\\000\\001\\000\\000\\000\\001\\000\\000\\000\\000\\070\\012\\021linear_regression\\052\\021$described\\072\\020$numbers"
  } >"corpus/$target/call"
  ;;
server_rest)
  features="--features server"
  tensor='"name": "input", "datatype": "FP64", "shape": [1, 2]'
  printf '\001\000{"id": "a", "inputs": [{%s, "data": [1.5, null]}], "outputs": [{"name": "predict"}]}' "$tensor" >"corpus/$target/tensors"
  printf '\000\000{"rows": [{"width": 1.5, "height": null, "count": 2, "city": "Oslo"}]}' >"corpus/$target/rows"
  printf '\001\001\000\000\000\000\000\000\360\077\000\000\000\000\000\000\360\277' >"corpus/$target/bytes"
  ;;
server_grpc)
  features="--features server"
  # The message of `linear_regression` with one row, in lists and in bytes.
  described='\012\005input\022\004FP64\032\002\001\002' numbers='\000\000\000\000\000\000\360\077\000\000\000\000\000\000\360\277'
  # shellcheck disable=SC2059
  printf "\\012\\021linear_regression\\052\\045$described\\052\\022\\072\\020$numbers" >"corpus/$target/lists"
  # shellcheck disable=SC2059
  printf "\\012\\021linear_regression\\052\\021$described\\072\\020$numbers" >"corpus/$target/bytes"
  ;;
server_lambda)
  features="--features server"
  printf '\015\050%s%s{"rows": [{"width": 1.5}], "model": "m"}' 1700000000000 'Root=1-5759e988-bd862e3f;Parent=53;Samp=1' >"corpus/$target/rows"
  printf '\000\000{"httpMethod": "POST", "path": "/predict", "headers": {"A": "b"}, "body": "e30=", "isBase64Encoded": true}' >"corpus/$target/old"
  printf '\000\000{"requestContext": {"http": {"method": "GET"}, "stage": "prod"}, "rawPath": "/prod/v2"}' >"corpus/$target/new"
  ;;
server_routes)
  features="--features server"
  printf '{"m": {"aliases": {"a": 1}, "traffic": {"a": 90, "2": 10}, "sticky": "x", "shadow": "a", "shadow_percent": 2}}' >"corpus/$target/routes"
  ;;
frames)
  # The first byte chooses the model and where the bytes are cut; then a description, a row of JSON, a row of numbers.
  printf '\001\010\000\000\000\000\000\000\000\000\000\000\000' >"corpus/$target/describe"
  printf '\000\012\000\000\000\003\000\000\000\000\000\000\000{}' >"corpus/$target/json"
  printf '\100\030\000\000\000\001\001\000\000\001\000\000\000abcdefghabcdefgh' >"corpus/$target/rows"
  ;;
tables)
  features="--features tables"
  # The first byte chooses the format.
  printf '\004a,b\n1.5,"x"\n,y\n' >"corpus/$target/csv"
  printf '\005{"a": 1.5, "b": "x"}\n{"b": null}\n' >"corpus/$target/jsonl"
  for file in ../fixtures/tables/*; do
    case $file in *.arrow) choice='\006' ;; *) choice='\007' ;; esac
    # shellcheck disable=SC2059
    { printf "$choice" && cat "$file"; } >"corpus/tables/$(basename "$file")"
  done
  ;;
esac
RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
 -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
  cargo build --release --target x86_64-unknown-linux-gnu --bin "$target" $features
exec "target/x86_64-unknown-linux-gnu/release/$target" "corpus/$target" -max_total_time="$seconds" -rss_limit_mb=512 -timeout=10
