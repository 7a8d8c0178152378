// What a configuration would do, in words.
#ifndef FW_APP_SUMMARY_H
#define FW_APP_SUMMARY_H

struct fw_config;
struct fw_text;

// Appends lines about worker, cameras, sinks and snapshots to TEXT. No secrets are in them. One
// thread.
void fw_config_summary(struct fw_text *text, const struct fw_config *config);

#endif
