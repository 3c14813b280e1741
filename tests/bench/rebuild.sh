#!/usr/bin/env bash
# Builds the Flask app again without a change (goal: under 200 ms), and with one line changed.
. "$(dirname "$0")/lib.sh"
cp -r tests/apps/flask "$BENCH/flask"
"$SLUG" build "$BENCH/flask"
measure "${ROUNDS:-10}" "nothing changed" '"$SLUG" build -q "$BENCH/flask"' \
  "one line changed" 'echo "# $RANDOM" >>"$BENCH/flask/app.py"; "$SLUG" build -q "$BENCH/flask"' "slug --version" '"$SLUG" --version'
