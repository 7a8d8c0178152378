#include "web/web.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Opens PATH if it is a regular file that begins as a JPEG does: whatever else lies in the folder
// is not for the page. Returns the descriptor, or -1.
static int open_jpeg(const char *path, uint64_t *length_bytes)
{
    static const unsigned char magic[3] = {0xff, 0xd8, 0xff};
    unsigned char start[sizeof magic];
    struct stat status;
    // Not blocking, so that a FIFO of that name holds nobody up.
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) ||
        pread(fd, start, sizeof start, 0) != (ssize_t)sizeof start ||
        memcmp(start, magic, sizeof magic) != 0) {
        close(fd);
        return -1;
    }
    *length_bytes = (uint64_t)status.st_size;
    return fd;
}

enum MHD_Result fw_web_stored(struct fw_web *web, struct MHD_Connection *connection,
                              const char *key)
{
    uint64_t length_bytes = 0;
    char *path = web->source.snapshot_path(web->source.opaque, key);
    int fd = path ? open_jpeg(path, &length_bytes) : -1;
    free(path);
    if (fd < 0)
        return fw_web_reply_error(web, connection, MHD_HTTP_NOT_FOUND,
                                  "there is no such snapshot; it may have been removed to keep "
                                  "the disk budget, or lie in the object store only");
    struct MHD_Response *response = MHD_create_response_from_fd64(length_bytes, fd);
    if (!response)
        close(fd);
    return fw_web_queue(connection, MHD_HTTP_OK, response, "image/jpeg", "private, max-age=300");
}
