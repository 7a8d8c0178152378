#!/bin/sh
# Makes three short clips with real faces that walk through a scene: FOLDER/{door,hall,yard}.mp4.
#
#   tools/make-clips.sh FOLDER
#
# The faces are Eileen Collins and Grace Hopper, both photographs in the public domain, taken out of
# the Debian packages python3-skimage and python-matplotlib-data (downloaded, not installed).
set -eu

folder=$1
mkdir -p "$folder"
if [ -f "$folder/door.mp4" ] && [ -f "$folder/hall.mp4" ] && [ -f "$folder/yard.mp4" ]; then
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && apt-get download -q python3-skimage python-matplotlib-data >/dev/null 2>"$work/log") ||
    { cat "$work/log" >&2; echo "Run apt-get update, then try again." >&2; exit 1; }
for package in "$work"/*.deb; do
    dpkg-deb -x "$package" "$work/root"
done
astronaut=$work/root/usr/lib/python3/dist-packages/skimage/data/astronaut.png
hopper=$work/root/usr/share/matplotlib/mpl-data/sample_data/grace_hopper.jpg

# A head that fades out at its edges, so that it does not look like a poster.
cut_out() { # INPUT CROP OUTPUT
    ffmpeg -v error -y -i "$1" -vf "crop=$2,scale=300:360,format=rgba,geq=\
r='r(X,Y)':g='g(X,Y)':b='b(X,Y)':\
a='255*clip((1-hypot((X-W/2)/(W/2),(Y-H/2)/(H/2)))*5,0,1)'" "$3"
}
cut_out "$astronaut" 200:240:124:0 "$work/collins.png"
cut_out "$hopper" 300:360:110:10 "$work/hopper.png"

# WIDTH to HEIGHT, background colours, overlay positions; 20 s at 25 fps, no B-frames, a keyframe a
# second, as cameras send it.
clip() { # NAME SIZE COLOURS FILTER
    ffmpeg -v error -y -f lavfi -i "gradients=s=$2:c0=$3:x0=0:y0=0:speed=0.00001:d=20:r=25" \
        -loop 1 -i "$work/collins.png" -loop 1 -i "$work/hopper.png" \
        -filter_complex "$4" -map '[out]' -t 20 -c:v libx264 -preset veryfast -crf 23 -bf 0 -g 25 \
        -pix_fmt yuv420p -movflags +faststart "$folder/.$1.mp4"
    mv "$folder/.$1.mp4" "$folder/$1.mp4"
}
walk="x='-w+mod(t*150\,W+2*w)':y='(H-h)/2+14*sin(t*5)'"
back="x='W-mod(t*110\,W+2*w)':y='(H-h)/2+60+10*sin(t*6)'"
clip door 1280x720 0x39424e:c1=0x6f7a86 \
    "[0][1]overlay=$walk:shortest=1,noise=alls=2:allf=t[out]"
clip hall 1280x720 0x4a4238:c1=0x8a7a66 \
    "[0][2]overlay=$back:shortest=1[a];[a][1]overlay=$walk:shortest=1,noise=alls=2:allf=t[out]"
clip yard 1920x1080 0x2f4036:c1=0x7d9184 \
    "[1]scale=180:-1[s];[0][s]overlay=$walk:shortest=1[a];\
[a][2]overlay=$back:shortest=1,noise=alls=2:allf=t[out]"
