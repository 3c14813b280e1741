/* What the log bench says and checks: lines of 80 bytes, each with the number of its writer and its own.
 *
 *   lines emit ID COUNT l    one write(2) a line
 *   lines emit ID COUNT b    writes of 64 KiB
 *   lines check COUNT ID…    reads stdin, whatever prefix the lines have: lost, damaged, out of order
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { TEXT = 79, BLOCK = 65536, IDS = 64 };

/* 79 characters and a newline: the text can be told from the numbers alone. */
static void line(char *out, int id, long number) {
    int start = snprintf(out, TEXT + 1, "%02d %010ld ", id, number);
    for (int at = start; at < TEXT; at++)
        out[at] = 'a' + (char)((number + at + id) % 26);
    out[TEXT] = '\n';
}

static int put(const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t written = write(1, bytes, count);
        if (written < 0)
            return 1;
        bytes += written;
        count -= (size_t)written;
    }
    return 0;
}

static int emit(int id, long count, int by_block) {
    static char block[BLOCK + TEXT + 1];
    size_t held = 0;
    for (long number = 0; number < count; number++) {
        line(block + held, id, number);
        held += TEXT + 1;
        size_t due = by_block ? (held >= BLOCK ? BLOCK : 0) : held;
        if (due > 0) {
            if (put(block, due))
                return 1;
            held -= due;
            memmove(block, block + due, held);
        }
    }
    return put(block, held);
}

static int check(long count, int ids, char **id) {
    long next[IDS] = {0}, damaged = 0, disordered = 0;
    char *read = NULL, expected[TEXT + 1];
    size_t room = 0;
    ssize_t length;
    while ((length = getline(&read, &room, stdin)) > 0) {
        char *text = read + length - TEXT - 1;
        int of = 0;
        long number = 0;
        if (length < TEXT + 1 || sscanf(text, "%2d %10ld ", &of, &number) != 2 || of < 0 || of >= IDS) {
            damaged += length >= TEXT && !strstr(read, "slug"); /* what the runner itself says is none of it */
            continue;
        }
        line(expected, of, number);
        if (memcmp(expected, text, TEXT) != 0) {
            damaged++;
            continue;
        }
        if (number != next[of])
            disordered++;
        next[of] = number + 1;
    }
    long lost = 0;
    for (int at = 0; at < ids; at++)
        lost += count - next[atoi(id[at]) % IDS];
    printf("%ld lost, %ld damaged, %ld out of order\n", lost, damaged, disordered);
    return lost != 0 || damaged != 0 || disordered != 0;
}

int main(int argc, char **argv) {
    if (argc == 5 && strcmp(argv[1], "emit") == 0)
        return emit(atoi(argv[2]), atol(argv[3]), argv[4][0] == 'b');
    if (argc > 3 && strcmp(argv[1], "check") == 0)
        return check(atol(argv[2]), argc - 3, argv + 3);
    fprintf(stderr, "usage: lines emit ID COUNT l|b, lines check COUNT ID...\n");
    return 2;
}
