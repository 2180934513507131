// Preloaded into a process: while the file named by FULL_DISK exists, files take 4096 bytes and no more.
#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROOM = 4096 };

// Bytes that still fit; what a process says on its standard streams always does.
static size_t room_in(int fd) {
  const char *control = getenv("FULL_DISK");
  struct stat file;
  if (fd <= 2 || !control || access(control, F_OK) != 0 || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
    return SIZE_MAX;
  return file.st_size < ROOM ? ROOM - (size_t)file.st_size : 0;
}

ssize_t write(int fd, const void *bytes, size_t count) {
  size_t room = room_in(fd);
  if (count && !room) {
    errno = ENOSPC;
    return -1;
  }
  return (ssize_t)syscall(SYS_write, fd, bytes, count < room ? count : room);
}
