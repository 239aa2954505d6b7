/* While the file named by DEAF exists, read() finds nothing on a TCP connection, however much has come: a program that
   stopped reading, and does all else it does. Loaded before the C library (LD_PRELOAD). */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static int deaf(int fd)
{
    const char *file = getenv("DEAF");
    int protocol = 0;
    socklen_t length = sizeof protocol;
    return file && access(file, F_OK) == 0 && getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &length) == 0
        && protocol == IPPROTO_TCP;
}

ssize_t read(int fd, void *buffer, size_t size)
{
    static ssize_t (*real)(int, void *, size_t);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "read");
    if (deaf(fd)) {
        usleep(20000); /* its poll() goes on saying that there is something */
        errno = EAGAIN;
        return -1;
    }
    return real(fd, buffer, size);
}
