/* A long line in user space, for kernels without netem: rate, delay and loss between two TUN devices.
 *
 *     line BYTES_A_SECOND DELAY_US LOSS_PPM QUEUE_BYTES DEVICE DEVICE
 *
 * Each way on its own: a packet is lost by chance, or else waits for the wire behind those before it, unless more than
 * QUEUE_BYTES wait already; then it travels for DELAY_US. Its bytes are kept in one ring, in the order in which they
 * leave it: the delay is the same for all.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST = 1 << 16, ROOM = 1 << 28, PACKETS = 1 << 18 };

struct packet { long long due; int length; size_t at; };

struct way {
    int from, to;
    unsigned char *ring;
    struct packet *packets;
    unsigned first, after; /* of the packets under way */
    size_t at;             /* where the next one's bytes go */
    size_t under_way;      /* bytes */
    long long wire_free;   /* when all that waits will have been sent */
    unsigned long long chance;
};

static double ns_a_byte;
static long long delay, longest_wait;
static unsigned loss_ppm;

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static int is_lost(struct way *way) { /* a linear congruence, whose upper bits are good enough for a dice */
    way->chance = way->chance * 6364136223846793005ULL + 1442695040888963407ULL;
    return (way->chance >> 33) % 1000000 < loss_ppm;
}

static void collect(struct way *way) {
    for (int turn = 0; turn < 200; turn++) {
        if (way->after - way->first == PACKETS || way->under_way + 2 * LONGEST > ROOM) return;
        if (way->at + LONGEST > ROOM) way->at = 0;
        ssize_t length = read(way->from, way->ring + way->at, LONGEST);
        if (length <= 0) return;
        long long read_at = now(), begins = way->wire_free > read_at ? way->wire_free : read_at;
        if (is_lost(way) || begins - read_at > longest_wait) continue;
        way->wire_free = begins + (long long)(length * ns_a_byte);
        way->packets[way->after++ % PACKETS] = (struct packet){way->wire_free + delay, (int)length, way->at};
        way->at += (size_t)length;
        way->under_way += (size_t)length;
    }
}

static long long deliver(struct way *way) { /* all that is due; returns nanoseconds until the next one is */
    while (way->first != way->after) {
        struct packet *packet = &way->packets[way->first % PACKETS];
        long long left = packet->due - now();
        if (left > 0) return left;
        if (write(way->to, way->ring + packet->at, (size_t)packet->length) < 0) return 50000; /* it is full just now */
        way->under_way -= (size_t)packet->length;
        way->first++;
    }
    return 100000000;
}

int main(int count, char **said) {
    if (count != 7) return fputs("usage: line BYTES_A_SECOND DELAY_US LOSS_PPM QUEUE_BYTES DEVICE DEVICE\n", stderr), 2;
    ns_a_byte = 1e9 / atof(said[1]);
    delay = atoll(said[2]) * 1000;
    loss_ppm = (unsigned)atoi(said[3]);
    longest_wait = (long long)(atof(said[4]) * ns_a_byte);
    int ends[2] = {atoi(said[5]), atoi(said[6])};
    struct way ways[2] = {{0}};
    for (int side = 0; side < 2; side++) {
        fcntl(ends[side], F_SETFL, O_NONBLOCK);
        ways[side] = (struct way){.from = ends[side], .to = ends[!side], .chance = 7 + (unsigned)side};
        ways[side].ring = malloc(ROOM);
        ways[side].packets = malloc(PACKETS * sizeof(struct packet));
        if (!ways[side].ring || !ways[side].packets) return 1;
    }
    for (;;) {
        long long left = deliver(&ways[0]), other = deliver(&ways[1]);
        if (other < left) left = other;
        struct timespec patience = {left / 1000000000, left % 1000000000};
        struct pollfd readable[2] = {{ends[0], POLLIN, 0}, {ends[1], POLLIN, 0}};
        if (ppoll(readable, 2, &patience, NULL) < 0) return 1;
        collect(&ways[0]);
        collect(&ways[1]);
    }
}
