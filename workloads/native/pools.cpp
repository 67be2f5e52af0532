/* C++ threads as they stand: `pools idle`, workers at a queue without work; `pools blocked`, the same workers behind a lock
 * that one of them holds while it sleeps. `ready` on stdout once all of it stands; ends when its stdin does. */
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <shared_mutex>
#include <thread>

class Pool {
public:
    explicit Pool(int workers) {
        for (int i = 0; i < workers; i++) std::thread([this] { work(); }).detach();
    }

    void add(std::function<void()> job) {
        std::lock_guard<std::mutex> held(lock);
        jobs.push_back(std::move(job));
        more.notify_one();
    }

private:
    void work() {
        for (;;) {
            std::unique_lock<std::mutex> held(lock);
            more.wait(held, [this] { return !jobs.empty(); });
            auto job = std::move(jobs.front());
            jobs.pop_front();
            held.unlock();
            job();
        }
    }

    std::mutex lock;
    std::condition_variable more;
    std::deque<std::function<void()>> jobs;
};

static std::shared_mutex table;
static std::atomic<int> there{0};

static void rewrite_table() {
    std::unique_lock<std::shared_mutex> held(table);
    there++;
    std::this_thread::sleep_for(std::chrono::hours(1));
}

static void read_table() {
    there++;
    std::shared_lock<std::shared_mutex> held(table);
}

static void done() { there++; }

int main(int argc, char **argv) {
    static Pool pool(4);
    bool blocked = argc > 1 && std::strcmp(argv[1], "blocked") == 0;
    if (blocked) {
        pool.add(rewrite_table);
        while (there.load() < 1) std::this_thread::yield();
    }
    int jobs = blocked ? 4 : 8;
    for (int i = there.load(); i < jobs; i++) pool.add(blocked ? read_table : done);
    while (there.load() < jobs) std::this_thread::yield();
    std::puts("ready");
    std::fflush(stdout);
    while (std::getchar() != EOF) {}
    std::_Exit(0);
}
