// Threads that work on one thing together: those of OpenMP, the pool that ggml has its threads of.
//
// A second pool would fight with the spinning of the first. For the thread sanitizer, which does not
// understand OpenMP's synchronisation, CAMA_OWN_THREADS takes threads of the standard library.
#pragma once

#ifdef CAMA_OWN_THREADS
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>
#else
#include <omp.h>
#endif

namespace cama {

#ifdef CAMA_OWN_THREADS
class Barrier {
public:
    explicit Barrier(int n) : n_(n) {}

    void wait() {
        std::unique_lock<std::mutex> lock(mutex_);
        if (++n_here_ == n_) {
            n_here_ = 0;
            ++round_;
            all_here_.notify_all();
        } else {
            all_here_.wait(lock, [this, round = round_] { return round != round_; });
        }
    }

private:
    std::mutex mutex_;
    std::condition_variable all_here_;
    const int n_;
    int n_here_ = 0, round_ = 0;
};

// One thread of a team of n, numbered from 0.
struct Member {
    int index, n;
    Barrier* barrier;

    // Until all of the team have come here.
    void wait() const { barrier->wait(); }
};

template <class Work>
void in_team(int n_threads, const Work& work) {
    Barrier barrier(n_threads);
    std::vector<std::thread> others;
    for (int i = 1; i < n_threads; ++i) others.emplace_back([&, i] { work(Member{i, n_threads, &barrier}); });
    work(Member{0, n_threads, &barrier});
    for (auto& other : others) other.join();
}
#else
// One thread of a team of n, numbered from 0.
struct Member {
    int index, n;

    // Until all of the team have come here.
    void wait() const {
#pragma omp barrier
    }
};

// Every thread of a team does the work; there may be fewer than asked for.
template <class Work>
void in_team(int n_threads, const Work& work) {
#pragma omp parallel num_threads(n_threads)
    work(Member{omp_get_thread_num(), omp_get_num_threads()});
}
#endif

}  // namespace cama
