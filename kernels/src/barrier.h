// Where the threads of a team wait for each other.
//
// They spin for a while and then sleep, so that a thread that has lost its core to another process
// gets one. OpenMP's own barrier asks the system to wake sleepers each time, whether there are any
// or not; that takes longer than most of what lies between two barriers of a decode step.
#pragma once

#include <immintrin.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>
#include <cstdlib>

namespace cama {

class Barrier {
public:
    // Until n threads have come here. The last one does `then` before any goes on.
    template <class Then>
    void wait(int n, const Then& then) {
        const uint32_t round = round_.load();
        if (n_here_.fetch_add(1) + 1 == n) {
            n_here_.store(0);
            then();
            round_.store(round + 1);
            if (n_asleep_.load()) syscall(SYS_futex, &round_, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
            return;
        }
        for (int i = 0; i < rounds(); ++i) {
            if (round_.load() != round) return;
            _mm_pause();
        }
        n_asleep_.fetch_add(1);
        while (round_.load() == round)
            syscall(SYS_futex, &round_, FUTEX_WAIT_PRIVATE, round, nullptr, nullptr, 0);
        n_asleep_.fetch_sub(1);
    }

private:
    // As long as OpenMP's threads spin, which a runner says in its environment.
    static int rounds() {
        static const int n = [] {
            const char* said = std::getenv("GOMP_SPINCOUNT");
            return said ? std::atoi(said) : 1000;
        }();
        return n;
    }

    alignas(64) std::atomic<int> n_here_{0};
    alignas(64) std::atomic<uint32_t> round_{0};
    std::atomic<int> n_asleep_{0};
};
static_assert(sizeof(std::atomic<uint32_t>) == sizeof(uint32_t), "the system waits for a plain word");

}  // namespace cama
