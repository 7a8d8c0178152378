#!/bin/sh
# Measures a YuNet model for 8 bits on the test data and prints the row for src/nn/quant_ranges.c:
#
#   tests/tools/calibrate.sh BUILD MODEL.onnx > row
#
# Pictures: all in images/ and negatives/, and about ten of each video in videos/, of the folder
# $FACEWORKER_SHARED/data. None of them is among the WIDER FACE pictures that accuracy is measured on.
set -eu

build=$1
model=$2
data=${FACEWORKER_SHARED:?}/data
frames=$(mktemp -d)
trap 'rm -rf "$frames"' EXIT

for video in "$data"/videos/*.m[pk][4v]; do
    count=$(ffprobe -v error -count_packets -select_streams v:0 -show_entries stream=nb_read_packets \
        -of csv=p=0 "$video")
    step=$((count / 10 + 1))
    ffmpeg -v error -nostdin -i "$video" -vf "select=not(mod(n\\,$step))" -fps_mode passthrough \
        "$frames/$(basename "$video")-%03d.png"
done
"$build/tests/tools/yunet_calibrate" "$model" "$data"/images/* "$data"/negatives/* "$frames"/*
