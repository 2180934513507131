// Preloaded into a server: while the file named by SLOW_FSYNC exists, every sync to disk takes 800 ms longer.
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_if_slow(void) {
  const char *control = getenv("SLOW_FSYNC");
  struct timespec left = {0, 800 * 1000 * 1000};
  if (control && access(control, F_OK) == 0)
    while (nanosleep(&left, &left) != 0) {
    }
}

int fsync(int fd) {
  wait_if_slow();
  return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd) {
  wait_if_slow();
  return (int)syscall(SYS_fdatasync, fd);
}
