// Threads that work on one thing together: those of OpenMP, the pool that ggml has its threads of.
//
// A second pool would fight with the spinning of the first. For the thread sanitizer, which does not
// understand OpenMP's synchronisation, CAMA_OWN_THREADS takes threads of the standard library.
#pragma once

#include "barrier.h"

#ifdef CAMA_OWN_THREADS
#include <thread>
#include <vector>
#else
#include <omp.h>
#endif

namespace cama {

// One thread of a team of n, numbered from 0.
struct Member {
    int index, n;
    Barrier* barrier;

    // Until all of the team have come here. The last one does `then` before any goes on.
    template <class Then>
    void wait(const Then& then) const {
        barrier->wait(n, then);
    }
    void wait() const {
        wait([] {});
    }
};

#ifdef CAMA_OWN_THREADS
template <class Work>
void in_team(int n_threads, const Work& work) {
    Barrier barrier;
    std::vector<std::thread> others;
    for (int i = 1; i < n_threads; ++i) others.emplace_back([&, i] { work(Member{i, n_threads, &barrier}); });
    work(Member{0, n_threads, &barrier});
    for (auto& other : others) other.join();
}
#else
// Every thread of a team does the work; there may be fewer than asked for.
template <class Work>
void in_team(int n_threads, const Work& work) {
    Barrier barrier;
#pragma omp parallel num_threads(n_threads)
    work(Member{omp_get_thread_num(), omp_get_num_threads(), &barrier});
}
#endif

}  // namespace cama
