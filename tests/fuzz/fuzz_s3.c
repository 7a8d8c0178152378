// What an S3 server may answer: no crash, one line of text, and a sentence for whatever it is.
#include "storage/s3_answer.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int condition)
{
    if (!condition)
        abort();
}

static void check_text(const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    require(length < size);
    for (size_t i = 0; i < length; i++)
        require((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
    require(length == 0 || (text[0] != ' ' && text[length - 1] != ' '));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct fw_s3_place place = {"faces", "h:1", "us-east-1"};
    struct fw_s3_answer answer = {.status = size > 0 ? 300 + 2 * data[0] : 400};
    struct fw_error error = {0};
    int status;

    fw_s3_answer_parse(&answer, (const char *)data, size);
    check_text(answer.code, sizeof(answer.code));
    check_text(answer.message, sizeof(answer.message));
    check_text(answer.region, sizeof(answer.region));
    status = fw_s3_answer_explain(&answer, &place, &error);
    require(status == FW_EAUTH || status == FW_EREJECTED || status == FW_EIO);
    require(error.code == status && strstr(error.message, "; ") != NULL);
    return 0;
}
