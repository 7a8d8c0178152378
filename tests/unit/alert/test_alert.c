// The program's main.
#include "alert_tests.h"
#include <curl/curl.h>
#include <stdlib.h>

int main(void)
{
    int failed = 0;

    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return EXIT_FAILURE;
    curl_global_cleanup();
    return failed != 0;
}
