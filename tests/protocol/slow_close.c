/* Preloaded into the daemon: a thread that has closed a descriptor sleeps for a while. */
#include <dlfcn.h>
#include <unistd.h>

int close(int fd) {
    int (*system_close)(int) = (int (*)(int))dlsym(RTLD_NEXT, "close");
    int result = system_close(fd);
    usleep(5000);
    return result;
}
