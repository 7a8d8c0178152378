// The networks that OpenCV runs for us: res10 (Caffe), CenterFace (ONNX) and Haar cascades.
//
// The only C++ of the project. No exception leaves this file: every entry point runs its body
// through guarded(), which turns them into codes and sentences.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdbool>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <unistd.h>

#include <opencv2/core.hpp>
#include <opencv2/core/utils/logger.hpp>
#include <opencv2/dnn.hpp>
#include <opencv2/imgproc.hpp>
#include <opencv2/objdetect.hpp>

extern "C" {
#include "detect/backends.h"
#include "media/frame.h"
#include "util/error.h"
#include "util/face.h"
}

namespace
{

constexpr int res10_size_px = 300;
constexpr int centerface_multiple_px = 32;
constexpr int centerface_stride_px = 4;
constexpr float centerface_max_log_size = 12.0F;
constexpr int haar_min_px = 24; // the cascade's own window
// Suppression is quadratic: of more candidates the worst are left out.
constexpr size_t max_candidates = 5000;

// OpenCV would print every error to stderr besides throwing it.
int quiet(int, const char *, const char *, const char *, int, void *)
{
    return 0;
}

void set_up_library()
{
    cv::redirectError(quiet);
    cv::utils::logging::setLogLevel(cv::utils::logging::LOG_LEVEL_SILENT);
    // The pool has a thread a core; OpenCV's own threads would only fight with them.
    cv::setNumThreads(1);
}

// OpenCV's messages run over several lines, with its source files in them.
std::string one_line(const char *text)
{
    std::string line(text);
    for (char &c : line)
        if (c == '\n' || c == '\r' || c == '\t')
            c = ' ';
    return line.substr(0, 240);
}

// Runs BODY and turns what it throws into a code: CODE for OpenCV's own errors, with WHAT before
// the library's message.
template <typename Body>
int guarded(struct fw_error *error, int code, const char *what, Body body) noexcept
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return fw_fail(error, FW_ENOMEM, "%s: out of memory; use a smaller input_size", what);
    } catch (const cv::Exception &e) {
        if (e.code == cv::Error::StsNoMem)
            return fw_fail(error, FW_ENOMEM, "%s: out of memory; use a smaller input_size", what);
        try {
            return fw_fail(error, code, "%s: %s", what, one_line(e.err.c_str()).c_str());
        } catch (...) {
            return fw_fail(error, code, "%s", what);
        }
    } catch (const std::exception &e) {
        return fw_fail(error, code, "%s: %.200s", what, e.what());
    } catch (...) {
        return fw_fail(error, code, "%s: OpenCV failed without a message", what);
    }
}

int need_readable(const char *path, const char *what, struct fw_error *error)
{
    if (!path)
        return fw_fail(error, FW_EINVAL, "no %s was given; name the file", what);
    if (access(path, R_OK) != 0)
        return fw_fail(error, FW_ENOENT,
                       "can't read the %s '%.300s'; check the path and its rights", what, path);
    return FW_OK;
}

cv::Mat plane(const struct fw_frame *frame, int index, int width, int height, int type)
{
    return cv::Mat(height, width, type, frame->planes[index],
                   static_cast<size_t>(frame->strides[index]));
}

// Averaging when shrinking keeps small faces free of aliases; OpenCV's area mode is not meant for
// enlarging.
cv::Mat resized(const cv::Mat &from, cv::Size size)
{
    if (from.size() == size)
        return from;
    bool shrinks = from.cols >= size.width && from.rows >= size.height;
    cv::Mat to;
    cv::resize(from, to, size, 0, 0, shrinks ? cv::INTER_AREA : cv::INTER_LINEAR);
    return to;
}

// Luma and interleaved chroma, each at SIZE. Scaling the planes first makes the conversion to BGR
// cost what the small picture costs.
void scaled_planes(const struct fw_frame *frame, cv::Size size, cv::Mat &luma, cv::Mat &chroma)
{
    int chroma_width = (frame->width + 1) / 2;
    int chroma_height = (frame->height + 1) / 2;
    luma = resized(plane(frame, 0, frame->width, frame->height, CV_8UC1), size);
    if (frame->format == FW_PIXEL_NV12) {
        chroma = resized(plane(frame, 1, chroma_width, chroma_height, CV_8UC2), size);
        return;
    }
    std::array<cv::Mat, 2> uv;
    for (int i = 0; i < 2; i++)
        uv[static_cast<size_t>(i)] =
            resized(plane(frame, i + 1, chroma_width, chroma_height, CV_8UC1), size);
    cv::merge(uv.data(), uv.size(), chroma);
}

// Coefficients of ITU-R BT.601 and BT.709, for luma and chroma scaled to 0..255 and -128..127.
struct YuvToBgr {
    float y_scale, y_offset, rv, gu, gv, bu;
};

YuvToBgr coefficients(const struct fw_frame *frame)
{
    float kr = frame->matrix == FW_MATRIX_BT709 ? 0.2126F : 0.299F;
    float kb = frame->matrix == FW_MATRIX_BT709 ? 0.0722F : 0.114F;
    float kg = 1 - kr - kb;
    float y_scale = frame->full_range ? 1.0F : 255.0F / 219.0F;
    float c_scale = frame->full_range ? 1.0F : 255.0F / 224.0F;
    return {y_scale,
            frame->full_range ? 0.0F : 16.0F,
            2 * (1 - kr) * c_scale,
            -2 * (1 - kb) * kb / kg * c_scale,
            -2 * (1 - kr) * kr / kg * c_scale,
            2 * (1 - kb) * c_scale};
}

void convert_row(const uint8_t *luma, const uint8_t *chroma, uint8_t *bgr, int width,
                 const YuvToBgr &k)
{
    for (int x = 0; x < width; x++) {
        float y = (static_cast<float>(luma[x]) - k.y_offset) * k.y_scale;
        float u = static_cast<float>(chroma[2 * x]) - 128.0F;
        float v = static_cast<float>(chroma[2 * x + 1]) - 128.0F;
        bgr[3 * x] = cv::saturate_cast<uint8_t>(y + k.bu * u);
        bgr[3 * x + 1] = cv::saturate_cast<uint8_t>(y + k.gu * u + k.gv * v);
        bgr[3 * x + 2] = cv::saturate_cast<uint8_t>(y + k.rv * v);
    }
}

cv::Mat scaled_bgr(const struct fw_frame *frame, cv::Size size)
{
    if (frame->format == FW_PIXEL_BGR24)
        return resized(plane(frame, 0, frame->width, frame->height, CV_8UC3), size);
    cv::Mat luma;
    cv::Mat chroma;
    scaled_planes(frame, size, luma, chroma);
    cv::Mat bgr(size, CV_8UC3);
    YuvToBgr k = coefficients(frame);
    for (int y = 0; y < size.height; y++)
        convert_row(luma.ptr<uint8_t>(y), chroma.ptr<uint8_t>(y), bgr.ptr<uint8_t>(y), size.width,
                    k);
    return bgr;
}

// The size at which FRAME is looked at: never enlarged, the longer side at most INPUT_SIZE (0:
// any).
cv::Size analysis_size(const struct fw_frame *frame, int input_size)
{
    int longer = std::max(frame->width, frame->height);
    double scale =
        input_size > 0 && longer > input_size ? static_cast<double>(input_size) / longer : 1.0;
    return {std::max(1, static_cast<int>(std::lround(frame->width * scale))),
            std::max(1, static_cast<int>(std::lround(frame->height * scale)))};
}

bool wanted(const struct fw_face &face, const struct fw_detect_parameters *parameters)
{
    return std::isfinite(face.box.x) && std::isfinite(face.box.y) && std::isfinite(face.box.w) &&
           std::isfinite(face.box.h) && face.box.w > 0 && face.box.h > 0 &&
           face.score >= parameters->min_score &&
           std::max(face.box.w, face.box.h) >= static_cast<float>(parameters->min_face_px);
}

// Non-maximum suppression: the best first, then those that overlap none of the better ones.
int add_best(std::vector<struct fw_face> &found, const struct fw_detect_parameters *parameters,
             struct fw_faces *faces, struct fw_error *error)
{
    std::stable_sort(
        found.begin(), found.end(),
        [](const struct fw_face &a, const struct fw_face &b) { return a.score > b.score; });
    found.resize(std::min(found.size(), max_candidates));
    size_t first = faces->count;
    for (const struct fw_face &face : found) {
        bool overlaps = std::any_of(
            faces->items + first, faces->items + faces->count, [&](const struct fw_face &better) {
                return fw_box_iou(&face.box, &better.box) > parameters->nms_iou;
            });
        if (!overlaps && fw_faces_add(faces, &face) != FW_OK)
            return fw_fail(error, FW_ENOMEM, "out of memory");
    }
    return FW_OK;
}

template <typename State> void destroy(void *state)
{
    delete static_cast<State *>(state);
}

// ---- res10: ResNet-10 SSD, 300x300 whatever the picture's shape, as it was trained and as its
// users have always run it.

struct Res10 {
    cv::dnn::Net net;

    cv::Mat run(const cv::Mat &bgr)
    {
        net.setInput(cv::dnn::blobFromImage(bgr, 1.0, cv::Size(), cv::Scalar(104, 177, 123)));
        return net.forward();
    }
};

// Rows of 7: picture, class, score, and the box as fractions.
bool is_ssd_output(const cv::Mat &out)
{
    return out.dims == 4 && out.size[0] == 1 && out.size[1] == 1 && out.size[3] == 7 &&
           out.type() == CV_32F;
}

int res10_open(void **state, const struct fw_detector_options *options, struct fw_error *error)
{
    *state = nullptr;
    int status = need_readable(options->model_path, "res10 weights (.caffemodel)", error);
    if (status == FW_OK)
        status = need_readable(options->config_path, "res10 network (deploy.prototxt)", error);
    if (status != FW_OK)
        return status;
    return guarded(error, FW_EFORMAT, "these files are no res10 network that OpenCV can read", [&] {
        set_up_library();
        auto res10 = std::make_unique<Res10>();
        res10->net = cv::dnn::readNetFromCaffe(options->config_path, options->model_path);
        cv::Mat grey(res10_size_px, res10_size_px, CV_8UC3, cv::Scalar::all(128));
        if (!is_ssd_output(res10->run(grey)))
            return fw_fail(error, FW_EFORMAT,
                           "'%.300s' is a Caffe network, but not res10's; use its own prototxt",
                           options->config_path);
        *state = res10.release();
        return static_cast<int>(FW_OK);
    });
}

int res10_detect(void *state, const struct fw_frame *frame,
                 const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                 struct fw_error *error)
{
    auto *res10 = static_cast<Res10 *>(state);
    return guarded(error, FW_EIO, "res10 failed", [&] {
        cv::Mat out = res10->run(scaled_bgr(frame, cv::Size(res10_size_px, res10_size_px)));
        auto width = static_cast<float>(frame->width);
        auto height = static_cast<float>(frame->height);
        std::vector<struct fw_face> found;
        for (int i = 0; i < out.size[2]; i++) {
            const float *row = out.ptr<float>(0, 0, i);
            struct fw_face face = {};
            face.score = row[2];
            face.box = {row[3] * width, row[4] * height, (row[5] - row[3]) * width,
                        (row[6] - row[4]) * height};
            if (wanted(face, parameters))
                found.push_back(face);
        }
        return add_best(found, parameters, faces, error);
    });
}

// ---- CenterFace (Y. Xu, W. Yan, et al., "CenterFace: Joint Face Detection and Alignment Using
// Face as Point", 2019): RGB 0..255 in, one cell of 4x4 px each of heat, log size, offset,
// landmarks.

struct CenterFace {
    cv::dnn::Net net;
    std::vector<cv::String> names = {"537", "538", "539", "540"};
    int input_size = 0;

    bool has_outputs()
    {
        return std::all_of(names.begin(), names.end(),
                           [this](const cv::String &name) { return net.getLayerId(name) >= 0; });
    }

    std::array<cv::Mat, 4> run(const cv::Mat &bgr)
    {
        net.setInput(cv::dnn::blobFromImage(bgr, 1.0, cv::Size(), cv::Scalar(), true));
        std::vector<cv::Mat> outs;
        net.forward(outs, names);
        return {outs.at(0), outs.at(1), outs.at(2), outs.at(3)};
    }
};

bool is_centerface_output(const std::array<cv::Mat, 4> &out, cv::Size input)
{
    static constexpr std::array<int, 4> channels = {1, 2, 2, 10};
    for (size_t i = 0; i < out.size(); i++)
        if (out[i].dims != 4 || out[i].type() != CV_32F || out[i].size[1] != channels[i] ||
            out[i].size[2] != input.height / centerface_stride_px ||
            out[i].size[3] != input.width / centerface_stride_px)
            return false;
    return true;
}

int centerface_open(void **state, const struct fw_detector_options *options, struct fw_error *error)
{
    *state = nullptr;
    int status = need_readable(options->model_path, "CenterFace model (.onnx)", error);
    if (status != FW_OK)
        return status;
    return guarded(error, FW_EFORMAT, "this file is no CenterFace that OpenCV can read", [&] {
        set_up_library();
        auto centerface = std::make_unique<CenterFace>();
        centerface->net = cv::dnn::readNetFromONNX(options->model_path);
        centerface->input_size = options->input_size;
        // OpenCV 4.6 folds scales into the weights again whenever the input's size changes, and the
        // results are wrong from then on. Without fusion it costs the same here.
        centerface->net.enableFusion(false);
        cv::Size size(2 * centerface_multiple_px, centerface_multiple_px);
        cv::Mat grey(size, CV_8UC3, cv::Scalar::all(128));
        if (!centerface->has_outputs() || !is_centerface_output(centerface->run(grey), size))
            return fw_fail(error, FW_EFORMAT, "'%.300s' is an ONNX network, but not CenterFace",
                           options->model_path);
        *state = centerface.release();
        return static_cast<int>(FW_OK);
    });
}

// One cell into a face, in pixels of the network's input.
struct fw_face centerface_cell(const std::array<cv::Mat, 4> &out, int row, int column)
{
    auto at = [&](size_t map, int channel) { return out[map].ptr<float>(0, channel, row)[column]; };
    constexpr auto stride = static_cast<float>(centerface_stride_px);
    struct fw_face face = {};
    face.score = at(0, 0);
    face.box.h = std::exp(std::min(at(1, 0), centerface_max_log_size)) * stride;
    face.box.w = std::exp(std::min(at(1, 1), centerface_max_log_size)) * stride;
    face.box.x = (static_cast<float>(column) + at(2, 1) + 0.5F) * stride - face.box.w / 2;
    face.box.y = (static_cast<float>(row) + at(2, 0) + 0.5F) * stride - face.box.h / 2;
    for (int i = 0; i < FW_LANDMARKS; i++)
        face.landmarks[i] = {at(3, 2 * i + 1) * face.box.w + face.box.x,
                             at(3, 2 * i) * face.box.h + face.box.y};
    face.has_landmarks = 1;
    return face;
}

void scale_face(struct fw_face &face, float scale_x, float scale_y)
{
    face.box = {face.box.x * scale_x, face.box.y * scale_y, face.box.w * scale_x,
                face.box.h * scale_y};
    for (auto &point : face.landmarks)
        point = {point.x * scale_x, point.y * scale_y};
}

int centerface_detect(void *state, const struct fw_frame *frame,
                      const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                      struct fw_error *error)
{
    auto *centerface = static_cast<CenterFace *>(state);
    return guarded(error, FW_EIO, "CenterFace failed", [&] {
        auto whole = [](int px) {
            return (px + centerface_multiple_px - 1) / centerface_multiple_px *
                   centerface_multiple_px;
        };
        // Stretched by less than 32 px to whole multiples, as its authors do.
        cv::Size size = analysis_size(frame, centerface->input_size);
        size = {whole(size.width), whole(size.height)};
        std::array<cv::Mat, 4> out = centerface->run(scaled_bgr(frame, size));
        if (!is_centerface_output(out, size))
            return fw_fail(error, FW_EFORMAT, "CenterFace gave outputs of the wrong size");
        float scale_x = static_cast<float>(frame->width) / static_cast<float>(size.width);
        float scale_y = static_cast<float>(frame->height) / static_cast<float>(size.height);
        std::vector<struct fw_face> found;
        for (int row = 0; row < out[0].size[2]; row++) {
            const float *heat = out[0].ptr<float>(0, 0, row);
            for (int column = 0; column < out[0].size[3]; column++) {
                if (!(heat[column] >= parameters->min_score))
                    continue;
                struct fw_face face = centerface_cell(out, row, column);
                scale_face(face, scale_x, scale_y);
                if (wanted(face, parameters))
                    found.push_back(face);
            }
        }
        return add_best(found, parameters, faces, error);
    });
}

// ---- Haar cascades (P. Viola, M. Jones, CVPR 2001; R. Lienhart, J. Maydt, ICIP 2002).

struct Haar {
    cv::CascadeClassifier cascade;
    int stages = 0;
    int input_size = 0;
};

int haar_open(void **state, const struct fw_detector_options *options, struct fw_error *error)
{
    *state = nullptr;
    int status = need_readable(options->model_path, "Haar cascade (.xml)", error);
    if (status != FW_OK)
        return status;
    return guarded(error, FW_EFORMAT, "this file is no cascade that OpenCV can read", [&] {
        set_up_library();
        auto haar = std::make_unique<Haar>();
        haar->input_size = options->input_size;
        cv::FileStorage file(options->model_path, cv::FileStorage::READ);
        cv::FileNode node = file.isOpened() ? file.getFirstTopLevelNode() : cv::FileNode();
        if (node.empty() || node["stageNum"].empty() || !haar->cascade.read(node) ||
            haar->cascade.empty())
            return fw_fail(
                error, FW_EFORMAT,
                "'%.300s' is no cascade in OpenCV's current format; Debian's opencv-data "
                "has such",
                options->model_path);
        haar->stages = static_cast<int>(node["stageNum"]);
        *state = haar.release();
        return static_cast<int>(FW_OK);
    });
}

cv::Mat grey_at(const struct fw_frame *frame, cv::Size size)
{
    cv::Mat grey;
    if (frame->format == FW_PIXEL_BGR24)
        cv::cvtColor(scaled_bgr(frame, size), grey, cv::COLOR_BGR2GRAY);
    else
        grey = resized(plane(frame, 0, frame->width, frame->height, CV_8UC1), size);
    cv::Mat equal;
    cv::equalizeHist(grey, equal);
    return equal;
}

// A cascade knows no probability. What passes every stage gets 0.7 (the default threshold) up to 1,
// rising with the margin of the last stage; what fails late gets less the earlier it failed. The
// order is meaningful, the distances are not.
float haar_score(int passed, int stages, double weight)
{
    if (passed >= stages)
        return static_cast<float>(0.7 + 0.3 * (1 - std::exp(-std::max(weight, 0.0) / 4)));
    return 0.7F * static_cast<float>(passed) / static_cast<float>(std::max(stages, 1));
}

int haar_detect(void *state, const struct fw_frame *frame,
                const struct fw_detect_parameters *parameters, struct fw_faces *faces,
                struct fw_error *error)
{
    auto *haar = static_cast<Haar *>(state);
    return guarded(error, FW_EIO, "the Haar cascade failed", [&] {
        cv::Size size = analysis_size(frame, haar->input_size);
        if (std::min(size.width, size.height) < haar_min_px)
            return static_cast<int>(FW_OK);
        float scale_x = static_cast<float>(frame->width) / static_cast<float>(size.width);
        float scale_y = static_cast<float>(frame->height) / static_cast<float>(size.height);
        std::vector<cv::Rect> boxes;
        std::vector<int> passed;
        std::vector<double> weights;
        haar->cascade.detectMultiScale(grey_at(frame, size), boxes, passed, weights, 1.1, 4, 0,
                                       cv::Size(haar_min_px, haar_min_px), cv::Size(), true);
        std::vector<struct fw_face> found;
        for (size_t i = 0; i < boxes.size(); i++) {
            struct fw_face face = {};
            face.score = haar_score(passed.at(i), haar->stages, weights.at(i));
            face.box = {static_cast<float>(boxes[i].x), static_cast<float>(boxes[i].y),
                        static_cast<float>(boxes[i].width), static_cast<float>(boxes[i].height)};
            scale_face(face, scale_x, scale_y);
            if (wanted(face, parameters))
                found.push_back(face);
        }
        return add_best(found, parameters, faces, error);
    });
}

} // namespace

extern "C" {
const struct fw_detector_backend fw_res10_backend = {
    "res10",      "OpenCV",       true,          false,   res10_open,
    res10_detect, destroy<Res10>, res10_size_px, nullptr,
};
const struct fw_detector_backend fw_centerface_backend = {
    "centerface",        "OpenCV", true,    false, centerface_open, centerface_detect,
    destroy<CenterFace>, 0,        nullptr,
};
const struct fw_detector_backend fw_haar_backend = {
    "haar", "OpenCV", true, false, haar_open, haar_detect, destroy<Haar>, 0, nullptr,
};
}
