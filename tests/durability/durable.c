/* Preloaded into the daemon by test_power_cut.py: replaces fdatasync(2), and keeps a copy of the
 * bytes that are certainly on the disk. It copies the file when a sync begins. When the sync has
 * ended, the copy becomes STAYD_DURABLE/INODE: the least that a later power cut leaves. The copy
 * lacks pages that were written and not synced. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

static void copy_file(int from, const char *path, off_t size) {
    int to = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    off_t offset = 0;
    while (to >= 0 && offset < size && sendfile(to, from, &offset, (size_t)(size - offset)) > 0) {
    }
    if (to < 0 || offset < size || close(to) != 0) {
        perror(path);
        abort();
    }
}

int fdatasync(int file) {
    static _Atomic unsigned count;
    int (*system_fdatasync)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    const char *folder = getenv("STAYD_DURABLE");
    struct stat status;
    if (folder == NULL || fstat(file, &status) != 0 || !S_ISREG(status.st_mode)) {
        return system_fdatasync(file);
    }
    char begun[4096];
    char ended[4096];
    unsigned number = atomic_fetch_add(&count, 1);
    snprintf(begun, sizeof begun, "%s/%lu.%u", folder, (unsigned long)status.st_ino, number);
    snprintf(ended, sizeof ended, "%s/%lu", folder, (unsigned long)status.st_ino);
    copy_file(file, begun, status.st_size);
    int result = system_fdatasync(file);
    /* If two syncs overlap, the copy that was begun later is kept. */
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned last;
    pthread_mutex_lock(&lock);
    if (result == 0 && number >= last && rename(begun, ended) == 0) {
        last = number;
    } else {
        unlink(begun);
    }
    pthread_mutex_unlock(&lock);
    return result;
}
