// SIGINT and SIGTERM as a cancel object.
#ifndef FW_APP_SIGNALS_H
#define FW_APP_SIGNALS_H

struct fw_cancel;
struct fw_signals;

// Blocks both signals in the calling thread, and so in all that it starts from now on, and reads
// them on a thread of its own: no handler and no global is needed, and a start that takes long (a
// download) can be stopped. Call it before any other thread starts. FW_OK; FW_EIO (errno says why),
// FW_ENOMEM, FW_EAGAIN with *SIGNALS NULL.
int fw_signals_open(struct fw_signals **signals);
// NULL is allowed. The signals stay blocked.
void fw_signals_close(struct fw_signals *signals);
// Triggered by the first signal. Owned by SIGNALS.
struct fw_cancel *fw_signals_stop(const struct fw_signals *signals);

#endif
