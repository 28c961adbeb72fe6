/* Opens and closes clients, with some requests each: libstayd-clients SERVERS COUNT. A leak
 * sanitizer and the number of descriptors show whether anything leaks. */
#include "stayd.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

static int count_descriptors(void) {
    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    while (folder != NULL && readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

int main(int argument_count, char **arguments) {
    if (argument_count != 3) {
        return 2;
    }
    int before = count_descriptors();
    for (int i = 0; i < atoi(arguments[2]); i++) {
        struct stayd_error error;
        struct stayd_value value = {0};
        struct stayd *client = stayd_open(arguments[1], NULL, &error);
        if (client == NULL || stayd_set(client, "k", 1, "v", 1, 0, 0, &error) != STAYD_OK ||
            stayd_get(client, "k", 1, &value, &error) != STAYD_OK) {
            fprintf(stderr, "%s\n", error.message);
            return 1;
        }
        stayd_value_free(&value);
        stayd_close(client);
        if (stayd_open("memcached://h:1/?timeout=", NULL, &error) != NULL) {
            return 1;
        }
    }
    return count_descriptors() != before;
}
